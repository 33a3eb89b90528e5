"""How an MLflow database is read and written by SQL, and the SQLite files in which one mostly is."""
