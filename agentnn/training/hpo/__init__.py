"""A study of hyperparameters: what is tried, where, and what came of it."""
