"""PyTorch modules as files that load back, able to train, without running code."""
