"""Python client of the CostCurve service: methods, requests, errors and types."""
