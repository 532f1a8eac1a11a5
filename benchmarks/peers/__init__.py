"""Peers: the same network trained with other libraries.

Each is written as an ordinary user of its library would write it. There is one module per peer, and `engines` for our
own engines. Each has `start(task) -> Training`. `python -m peers TASK.npz MODULE` serves one of them to
benchmarks/compare.py (see `peers.__main__`).
"""
