"""The files of runs, wherever a store keeps them."""
