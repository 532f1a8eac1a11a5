"""A fleet: workers on a Ray cluster.

Ray says where they run. What there is to do, and what became of it, is in the store: losing Ray loses capacity only.
"""
