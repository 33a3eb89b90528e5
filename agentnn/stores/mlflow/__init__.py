"""What is left to MLflow's own client, and all else here that knows MLflow."""
