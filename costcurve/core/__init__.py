"""Contract types: specs, submissions, jobs, curves and errors. Depends only on pydantic."""
