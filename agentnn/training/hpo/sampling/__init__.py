"""What is tried: the space, and Optuna's samplers and pruners by the names of the schema."""
