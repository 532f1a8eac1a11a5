"""Curves, transcripts and models as files."""
