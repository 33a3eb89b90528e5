"""TOML documents as text: what is written, what is read, and the comments in between."""
