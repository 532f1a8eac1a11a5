"""Training: worker processes that claim jobs, train them and report. The only place with torch."""
