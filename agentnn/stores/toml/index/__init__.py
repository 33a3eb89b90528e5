"""What a scan has read, kept so that the next one reads only what changed."""
