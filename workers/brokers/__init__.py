"""The brokers: one interface, one folder a venue."""
