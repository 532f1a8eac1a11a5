"""The routes, one file for each resource. They translate; the store decides."""
