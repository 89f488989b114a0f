"""Notes in SQLite, a file for each user, as a module of actas."""
