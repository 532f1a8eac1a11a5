"""Measurement of the diagnosis: faults put into sound specs, and whether they are found and repaired."""
