"""Pure functions: the random draws of a spec, forecasts, sampling, bands, rankings, diagnosis.

They use no database, no HTTP and no torch.
"""
