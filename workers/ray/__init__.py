"""A fleet: workers on a Ray cluster.

Ray only decides where they run. Jobs and their results are in the store, so losing Ray loses capacity and nothing else.
"""
