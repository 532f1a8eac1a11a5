"""The JSON of requests and responses, one file for each resource."""
