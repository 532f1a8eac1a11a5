"""The JSON of requests and responses, one file per resource."""
