"""Projects as a store that is written to."""
