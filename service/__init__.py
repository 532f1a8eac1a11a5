"""The HTTP service: requests become store calls, records become responses. It never imports torch."""
