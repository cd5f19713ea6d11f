"""The whole product on one machine, with simulated venues: what `make run` starts."""
