"""The same network, trained by other means, each as an ordinary user of its library would write it.

One module a peer, and `engines` for our own. Each has `start(task) -> Training`. `python -m peers NAME TASK` serves one
to benchmarks/compare.py (see `peers.__main__`).
"""
