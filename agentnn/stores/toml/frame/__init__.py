"""All runs as the columns of a table, kept beside the index."""
