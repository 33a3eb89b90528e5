"""Trainers for what a plain loop does not do; each begins its own run and logs to it by itself."""
