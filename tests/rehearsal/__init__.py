"""The rehearsal: the product through a series of bad days, and what was lost, doubled, widened or wrongly called closed."""
