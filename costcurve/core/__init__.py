"""The contract: specs, submissions, jobs, curves and errors. Needs nothing but pydantic."""
