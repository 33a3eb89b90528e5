"""What networks learn from: prices or files of one's own, features without look-ahead, three parts."""
