"""Client library of CostCurve: submit training jobs, watch them, fetch results.

>>> from costcurve import Client
>>> with Client() as client:
...     job = client.submit(preset="neuron-slow-quadratic")
...     job = client.wait(job.id)
...     print(job.status, job.result["final_output"])

`AsyncClient` has the same methods, to be awaited.

Names are imported on first use. A program that needs no client loads no HTTP library.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from costcurve.client.access_types import Caller
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
    from costcurve.client.sweep_types import (
        Cell,
        CellPage,
        Sweep,
        SweepPage,
        SweepPreset,
    )
    from costcurve.client.trial_types import Verdict
    from costcurve.client.types import (
        Comparison,
        Confusion,
        Curve,
        Event,
        Forecast,
        Job,
        JobPage,
        Mistake,
        Prediction,
        Preset,
        Progress,
        SpecWarning,
        SubmittedJob,
        Validation,
        Worker,
    )

__all__ = [
    "ApiError",
    "AsyncClient",
    "BadField",
    "Caller",
    "Cell",
    "CellPage",
    "Client",
    "Comparison",
    "Confusion",
    "CostCurveError",
    "Curve",
    "Event",
    "Forecast",
    "Job",
    "JobPage",
    "Mistake",
    "Moved",
    "Prediction",
    "Preset",
    "Progress",
    "ServiceUnreachable",
    "SpecWarning",
    "SubmittedJob",
    "Sweep",
    "SweepPage",
    "SweepPreset",
    "SweepWaitTimeout",
    "UnexpectedAnswer",
    "Validation",
    "Verdict",
    "WaitTimeout",
    "Worker",
]

_MODULES = (
    "costcurve.client.access_types",
    "costcurve.client.client",
    "costcurve.client.errors",
    "costcurve.client.types",
    "costcurve.client.sweep_types",
    "costcurve.client.trial_types",
)


def __getattr__(name: str) -> object:
    """Import a public name from the module that defines it (PEP 562)."""
    if name in __all__:
        for module in map(import_module, _MODULES):
            if hasattr(module, name):
                value: object = getattr(module, name)
                globals()[name] = value
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
