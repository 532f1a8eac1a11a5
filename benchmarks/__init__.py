"""Benchmarks: one runnable file per claim; `records/` has the results."""
