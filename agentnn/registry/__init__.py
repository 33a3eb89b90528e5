"""What happens to registered models: promotion with a memory, files, predictions."""
