"""Writing runs, and what is computed on the way."""
