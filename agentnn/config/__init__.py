"""Configurations: YAML and overrides, read once, checked as a whole, with the place of every error."""
