"""Runs as documents that people send to each other: gathered, told, and drawn."""
