"""What a run's journal is: its records, its place, and the values and names that go into it."""
