"""MLflow's file store: a folder of experiments, of which each is a folder of runs. Written and read without MLflow."""
