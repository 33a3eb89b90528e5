"""What the training loop is made of: its options, a step, devices, schedules, checkpoints."""
