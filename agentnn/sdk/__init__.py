"""The façades that users know, one module each."""
