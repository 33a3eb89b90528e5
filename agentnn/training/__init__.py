"""Training on market data."""
