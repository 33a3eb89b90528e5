"""One run's folder: its files, and what stands in them."""
