"""The article as an experiment: what it claims, how that is measured, and what came of it.

Everything here is a pure function of what a service answers; collecting.py is what asks it.
"""
