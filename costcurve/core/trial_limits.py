"""Limits of trials, which the command line needs without the specs."""

# Seeds of a trial whose client names no number.
REPEATS = 5
MAX_REPEATS = 200
# Most looks at a trial while seeds are added; each has an equal part of the permitted error.
MAX_LOOKS = 4
