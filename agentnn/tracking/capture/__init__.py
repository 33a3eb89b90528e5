"""What a run can tell about itself: its code, machine, model, data and results; computed as plain data, then logged."""
