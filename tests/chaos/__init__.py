"""What may go wrong, done on purpose to the real programs, on both databases, seeded; and what must hold all the same.

One module for each kind of trouble. `make chaos` does all of it in full and writes benchmarks/records/chaos.md; the
short form of each is an ordinary test (test_chaos.py).
"""
