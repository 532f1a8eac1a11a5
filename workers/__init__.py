"""Worker processes: claim jobs, train them and report.

Only this package imports torch.
"""
