"""What runs trials: this process, processes beside it, or a Ray cluster."""
