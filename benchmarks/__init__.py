"""One runnable file for each claim, and `records/` with the figures."""
