"""The HTTP service: translates requests into calls of the job store, and records into answers. Never imports torch."""
