"""HTTP features shared by all resources: connections, headers, bodies, conditional requests."""
