"""Projects as a store that answers questions."""
