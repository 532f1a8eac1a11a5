"""The article as an experiment: its claims, their measurement and the verdicts.

All modules are pure functions of the service's responses, except collecting.py, which sends the requests.
"""
