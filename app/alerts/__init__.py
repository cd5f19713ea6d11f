"""From an alert's bytes to commands: authentication, grammar, schemas, and what a hook allows."""
