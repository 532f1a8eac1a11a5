"""Execution profile: everything that decides the last bits of a training.

A job records its profile, and resumes from a checkpoint only under the same profile.
"""

import ast
import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from costcurve.core.job import ExecProfile
from workers.engines import fused_cpu
from workers.engines.packed_gpu import engine as packed_gpu


def exec_profile(engine: str, device: str) -> ExecProfile:
    """Return the profile of an available engine on a device.

    The device is "cpu", or "cuda:0" and so on.
    """
    return _with_threads(engine, device, torch.get_num_threads())


@lru_cache(maxsize=64)
def _with_threads(engine: str, device: str, threads: int) -> ExecProfile:
    on = torch.device(device)
    versions = {"torch": torch.__version__, "numpy": np.__version__, "source": _source(engine)}
    if engine == fused_cpu.NAME:
        versions["kernel"] = fused_cpu.source()
        instruction_set = fused_cpu.instruction_sets()[0]
    elif on.type == "cuda":
        major, minor = torch.cuda.get_device_capability(on)
        instruction_set = f"sm_{major}{minor}"
        if engine == packed_gpu.NAME:
            versions |= packed_gpu.versions()
    else:
        instruction_set = torch.backends.cpu.get_cpu_capability().lower()
    return ExecProfile(
        engine=engine,
        device=torch.cuda.get_device_name(on) if on.type == "cuda" else on.type,
        instruction_set=instruction_set,
        threads=threads,
        versions=versions,
    )


# Files that compute the start, the batches, the costs and the metrics of every engine.
_COMMON = (
    *("engines/epoch_loop.py", "engines/step_metrics.py"),
    *(f"training/{name}.py" for name in ("diagnostics", "initializers", "losses", "network", "randomness")),
)


@lru_cache(maxsize=8)
def _source(engine: str) -> str:
    """Return a digest of the Python code that decides the last bits.

    Other code may round differently. Comments, docstrings, layout and the modules that names are imported from are left
    out, so that checkpoints stay valid when only those change.
    """
    digest = hashlib.sha256()
    root = Path(__file__).parent.parent
    package = root / "engines" / engine
    own = sorted(package.glob("*.py")) if package.is_dir() else [package.with_suffix(".py")]
    for path in (*own, *(root / name for name in _COMMON)):
        tree = ast.parse(path.read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
                del node.body[0]
            if isinstance(node, ast.ImportFrom):
                node.module = None
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:12]
