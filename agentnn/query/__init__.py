"""What to ask: one language for every store."""
