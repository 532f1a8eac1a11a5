"""Pure functions on recorded metrics and results: sampling, bands, rankings, diagnosis.

They use no database and no HTTP.
"""
