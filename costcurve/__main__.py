"""Entry point of `python -m costcurve`, the command line."""

from costcurve.cli import main

main()
