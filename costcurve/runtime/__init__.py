"""Process basics of every program: settings, logging, paths, private files."""
