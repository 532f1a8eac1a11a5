"""Training engines: each turns specs into streams of reports. No engine uses the store."""
