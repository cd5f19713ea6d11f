"""The SQL record of all that was asked and all that happened: the memory of the product."""
