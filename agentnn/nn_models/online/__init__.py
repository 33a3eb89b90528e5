"""What the online learner is made of; it is :class:`~agentnn.nn_models.online_learning.OnlineLearner`."""
