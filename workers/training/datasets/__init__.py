"""Data sets: find, download, verify and load them."""
