"""The commands of `costcurve`, with one file for each resource."""
