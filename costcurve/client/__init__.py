"""The client: its methods, its requests and its types."""
