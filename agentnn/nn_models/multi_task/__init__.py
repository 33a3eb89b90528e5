"""What several tasks on one encoder are made of: tasks and labels, network, losses and their balance."""
