"""Reasons why a training is slow, and specs that would test them.

A diagnosis uses only what is recorded.
"""

from costcurve.analysis.diagnosis.comparison import Compared, compare
from costcurve.analysis.diagnosis.diagnose import NOT_RECORDED, course_of, diagnose, metrics_diagnosed
from costcurve.analysis.diagnosis.findings import Diagnosis, Finding

__all__ = ["NOT_RECORDED", "Compared", "Diagnosis", "Finding", "compare", "course_of", "diagnose", "metrics_diagnosed"]
