"""MLflow's tables on a database server, PostgreSQL or MySQL, read straight by SQL."""
