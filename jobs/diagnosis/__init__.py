"""From figures to reasons: why a training is slow, and which spec would test the cure; from what is recorded alone."""

from jobs.diagnosis.comparison import Compared, compare
from jobs.diagnosis.findings import Diagnosis, Finding
from jobs.diagnosis.job import NOT_RECORDED, course_of, diagnose, metrics_diagnosed

__all__ = ["NOT_RECORDED", "Compared", "Diagnosis", "Finding", "compare", "course_of", "diagnose", "metrics_diagnosed"]
