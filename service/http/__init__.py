"""HTTP for every resource: connections, headers, bodies, conditional requests."""
