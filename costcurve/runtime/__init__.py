"""What every program needs: settings, logging, paths, private files."""
