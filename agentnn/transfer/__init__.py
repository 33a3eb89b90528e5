"""Taking runs from one store to another: the format of an export, written, checked and read."""
