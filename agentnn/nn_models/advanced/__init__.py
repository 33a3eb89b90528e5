"""What :class:`~agentnn.nn_models.advanced_training.AdvancedTrainer` is made of."""
