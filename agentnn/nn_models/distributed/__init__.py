"""What :mod:`agentnn.nn_models.training_infrastructure` is made of."""
