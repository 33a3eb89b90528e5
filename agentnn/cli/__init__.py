"""The command line: it parses, calls the SDK once, and renders."""
