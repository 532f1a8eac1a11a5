"""Engines of this process: the choice of one for each job, what decides its last bits, and the start of a training.

An engine is a module `workers/engines/NAME.py` with the attributes of `Engine` (base.py), and a line in
`costcurve/core/engines.py`.
"""

import ast
import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import cast

import numpy as np
import torch

from costcurve.analysis import initializers, randomness
from costcurve.core.engines import AUTO, ENGINES
from costcurve.core.job import EngineChoice, ExecProfile
from costcurve.core.spec import AnySpec
from workers.engines.base import Engine, Report, Snapshot
from workers.training.network import ImageSets


def engine_named(name: str) -> Engine:
    """Return the engine of this name.

    Raises:
        ValueError: there is none.
    """
    if name not in ENGINES:
        raise ValueError(f"there is no engine {name!r}; there are {', '.join(ENGINES)}")
    return cast(Engine, import_module(f"workers.engines.{name}"))


def available(device: str) -> Sequence[str]:
    """Return the engines available on this device ("cpu", or "cuda:0" and so on)."""
    return [name for name in ENGINES if engine_named(name).why_missing(torch.device(device)) is None]


def select_engine(spec: AnySpec, requested: str, device: str, *, pack: int = 1) -> EngineChoice:
    """Return the engine for a job, chosen by its spec and its device.

    Args:
        spec: what to train.
        requested: an engine that is available here, or "auto".
        device: where to train: "cpu", or "cuda:0" and so on.
        pack: most jobs to claim at once for an engine that trains them in turns.
    """
    name, remark = _fastest(spec, torch.device(device)) if requested == AUTO else (requested, None)
    return EngineChoice(name, engine_named(name).BATCH_LIMIT or pack, remark, exec_profile(name, device))


def start(
    engine: str,
    specs: Sequence[AnySpec],
    resumes: Sequence[Snapshot | None],
    *,
    device: torch.device,
    images: ImageSets | None,
    report_interval: float,
) -> Sequence[Iterator[Report]]:
    """Return one iterator of reports for each spec; request from them in turn.

    Nothing is trained before the first report is requested.

    Args:
        engine: name of the engine that trains them.
        specs: what to train, of a shape that may be trained together.
        resumes: the snapshot that each resumes from; None starts at step 0.
        device: where to train.
        images: MNIST on `device`; None for neurons, which need no images.
        report_interval: seconds in which each should report once.
    """
    return engine_named(engine).train(specs, resumes, device=device, images=images, report_interval=report_interval)


def exec_profile(engine: str, device: str) -> ExecProfile:
    """Return everything that decides the last bits of a training with this engine on a device.

    A job records its profile, and resumes from a checkpoint only under the same profile. The device is "cpu", or
    "cuda:0" and so on.
    """
    return _with_threads(engine, device, torch.get_num_threads())


def _fastest(spec: AnySpec, device: torch.device) -> tuple[str, str | None]:
    """Return the engine that is fastest by measurement, and a remark if a faster one is missing here."""
    remark = None
    for name in reversed(ENGINES):
        engine = engine_named(name)
        if ENGINES[name].why_unsupported(spec, device.type) is None and engine.suits(spec, device):
            if (why := engine.why_missing(device)) is None:
                return name, remark
            remark = f"because {name} is missing here ({why})"
    raise ValueError(f"no engine trains {spec.experiment} on {device}")


@lru_cache(maxsize=64)
def _with_threads(engine: str, device: str, threads: int) -> ExecProfile:
    on = torch.device(device)
    instruction_set, versions = engine_named(engine).profile(on)
    return ExecProfile(
        engine=engine,
        device=torch.cuda.get_device_name(on) if on.type == "cuda" else on.type,
        instruction_set=instruction_set,
        threads=threads,
        versions={"torch": torch.__version__, "numpy": np.__version__, "source": source_digest(engine), **versions},
    )


# Files that compute the batches, the costs and the metrics of every engine, and modules that draw the start.
_COMMON = (
    *("engines/epoch_loop.py", "engines/step_metrics.py"),
    *(f"training/{name}.py" for name in ("activations", "diagnostics", "losses", "network")),
)
_DRAWS = (initializers.__file__, randomness.__file__)


@lru_cache(maxsize=8)
def source_digest(engine: str) -> str:
    """Return a digest of the Python code that decides the last bits.

    Other code may round differently. Comments, docstrings, layout and the modules that names are imported from are left
    out, so that checkpoints stay valid when only those change.
    """
    digest = hashlib.sha256()
    own = Path(engine_named(engine).__file__)
    files = sorted(own.parent.glob("*.py")) if own.name == "__init__.py" else [own]
    common = (Path(__file__).parent.parent / name for name in _COMMON)
    for path in (*files, *common, *map(Path, _DRAWS)):
        tree = ast.parse(path.read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
                del node.body[0]
            if isinstance(node, ast.ImportFrom):
                node.module = None
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:12]
