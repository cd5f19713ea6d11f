"""Settings from the environment, the TOML file's schema, logging, gunicorn, example files."""
