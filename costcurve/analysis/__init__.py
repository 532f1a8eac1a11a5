"""Pure functions on recorded figures: sampling, bands, rankings, diagnosis. No database, no HTTP."""
