"""CostCurve's client: submit training jobs to a service, watch them, and fetch what they came to.

>>> from costcurve import Client
>>> with Client() as client:
...     job = client.submit(preset="neuron-slow-quadratic")
...     job = client.wait(job.id)
...     print(job.status, job.result["final_output"])

`AsyncClient` has the same methods, to be awaited.
"""

from costcurve.client.client import AsyncClient, Client
from costcurve.client.errors import (
    ApiError,
    BadField,
    CostCurveError,
    Moved,
    ServiceUnreachable,
    SweepWaitTimeout,
    UnexpectedAnswer,
    WaitTimeout,
)
from costcurve.client.types import (
    Cell,
    CellPage,
    Comparison,
    Confusion,
    Curve,
    Event,
    Job,
    JobPage,
    Mistake,
    Prediction,
    Preset,
    Progress,
    Sweep,
    SweepPage,
    SweepPreset,
    Validation,
    Worker,
)

__all__ = [
    "ApiError",
    "AsyncClient",
    "BadField",
    "Cell",
    "CellPage",
    "Client",
    "Comparison",
    "Confusion",
    "CostCurveError",
    "Curve",
    "Event",
    "Job",
    "JobPage",
    "Mistake",
    "Moved",
    "Prediction",
    "Preset",
    "Progress",
    "ServiceUnreachable",
    "Sweep",
    "SweepPage",
    "SweepPreset",
    "SweepWaitTimeout",
    "UnexpectedAnswer",
    "Validation",
    "WaitTimeout",
    "Worker",
]
