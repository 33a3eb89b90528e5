"""What :mod:`agentnn.nn_models.dynamic_architecture` is made of: networks whose layers change, one idea a module."""
