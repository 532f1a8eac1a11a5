"""Time of the 404 for a job of another project, compared with the 404 for a job that does not exist."""

import argparse
import json
import os
import random
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from math import exp, sqrt
from pathlib import Path
from statistics import NormalDist, median
from time import perf_counter

import numpy as np
import record

from costcurve.runtime.listening import listen

JOBS = 500
LEVEL = 0.01
ROOT = Path(__file__).parent.parent
OPERATIONS = {
    "GET /v1/jobs/{id}": ("GET", "/v1/jobs/{}", None),
    "GET /v1/jobs/{id}/curve": ("GET", "/v1/jobs/{}/curve", None),
    "GET /v1/jobs/{id}/curve.svg": ("GET", "/v1/jobs/{}/curve.svg", None),
    "GET /v1/jobs/{id}/model": ("GET", "/v1/jobs/{}/model", None),
    "PATCH /v1/jobs/{id}": ("PATCH", "/v1/jobs/{}", {"name": "x"}),
    "POST /v1/jobs/{id}/cancel": ("POST", "/v1/jobs/{}/cancel", None),
    "POST /v1/jobs/{id}/clone": ("POST", "/v1/jobs/{}/clone", {}),
    "DELETE /v1/jobs/{id}": ("DELETE", "/v1/jobs/{}", None),
}


@dataclass
class Requests:
    """Requests with one key over one connection."""

    connection: HTTPConnection
    key: str

    def send(self, method: str, path: str, body: object = None) -> tuple[int, bytes, float]:
        """Return the status, the body and the seconds of one request."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body)
        began = perf_counter()
        self.connection.request(method, path, body=content, headers=headers)
        response = self.connection.getresponse()
        answer = response.read()
        return response.status, answer, perf_counter() - began


@contextmanager
def service(home: Path) -> Iterator[tuple[int, str]]:
    """Run a service with keys; yield its port and its first key."""
    file = home / "key"
    ours = {
        "COSTCURVE_HOME": str(home),
        "COSTCURVE_AUTH": "keys",
        "COSTCURVE_INIT_KEY_FILE": str(file),
        "COSTCURVE_KEY_REQUESTS_PER_SECOND": "100000",
        "COSTCURVE_LOG_LEVEL": "ERROR",
    }
    with listen("127.0.0.1", 0) as listener:
        fd, port = listener.fileno(), listener.getsockname()[1]
        command = [sys.executable, "-m", "service", "--fd", str(fd)]
        process = subprocess.Popen(command, env={**os.environ, **ours}, pass_fds=[fd], cwd=ROOT)
    try:
        probe = HTTPConnection("127.0.0.1", port, timeout=120)
        probe.request("GET", "/readyz")
        probe.getresponse().read()
        yield port, file.read_text().strip()
    finally:
        process.terminate()
        process.wait()


def same_median(first: np.ndarray, second: np.ndarray) -> float:
    """Return the p-value of the Mann-Whitney U test, two-sided, by its normal approximation."""
    ranks = np.concatenate([first, second]).argsort().argsort() + 1
    n, m = len(first), len(second)
    u = ranks[:n].sum() - n * (n + 1) / 2
    return 2 * NormalDist().cdf(-abs(u - n * m / 2) / sqrt(n * m * (n + m + 1) / 12))


def same_distribution(first: np.ndarray, second: np.ndarray) -> float:
    """Return the asymptotic p-value of the Kolmogorov-Smirnov test for two samples."""
    at = np.concatenate([first, second])
    shares = [np.searchsorted(np.sort(each), at, side="right") / len(each) for each in (first, second)]
    root = sqrt(len(first) * len(second) / (len(first) + len(second)))
    distance = float(np.abs(shares[0] - shares[1]).max()) * root
    return min(1.0, 2 * sum((-1) ** (k - 1) * exp(-2 * (k * distance) ** 2) for k in range(1, 101)))


def measure(requests: Requests, jobs: list[str], operation: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the seconds of `count` requests for strangers' jobs and of as many for missing ones, in random order."""
    method, path, body = OPERATIONS[operation]
    kinds = ["stranger", "missing"] * count
    random.shuffle(kinds)
    seconds: dict[str, list[float]] = {"stranger": [], "missing": []}
    for kind in kinds:
        job_id = random.choice(jobs) if kind == "stranger" else f"job_{secrets.token_hex(10)}"
        status, _, took = requests.send(method, path.format(job_id), body)
        if status != 404:
            raise SystemExit(f"{operation} answered {status}")
        seconds[kind].append(took)
    return np.array(seconds["stranger"]), np.array(seconds["missing"])


def main() -> None:
    """Measure all operations and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="requests of each kind and operation (%(default)s)")
    count = parser.parse_args().count
    rows, least = [], 1.0
    with tempfile.TemporaryDirectory() as folder, service(Path(folder)) as (port, admin):
        owner = Requests(HTTPConnection("127.0.0.1", port, timeout=120), admin)
        owner.send("POST", "/v1/projects", {"name": "other"})
        _, made, _ = owner.send("POST", "/v1/keys", {"project": "other", "name": "other"})
        spec = {"spec": {"experiment": "neuron"}}
        jobs = [json.loads(owner.send("POST", "/v1/jobs", spec)[1])["id"] for _ in range(JOBS)]
        other = Requests(HTTPConnection("127.0.0.1", port, timeout=120), json.loads(made)["key"])
        for operation in OPERATIONS:
            measure(other, jobs, operation, 50)  # warm
            strangers, missing = measure(other, jobs, operation, count)
            values = same_median(strangers, missing), same_distribution(strangers, missing)
            least = min(least, *values)
            shown = [f"{1000 * median(each):.3f} ms" for each in (strangers.tolist(), missing.tolist())]
            rows.append([f"`{operation}`", *shown, *(f"{value:.2f}" for value in values)])
    bound = LEVEL / (2 * len(OPERATIONS))
    result = "no difference is seen" if least >= bound else "a difference is seen"
    lines = [
        f"{count:,} requests for jobs of another project, of {JOBS}, and as many for ids that do not exist, in random",
        "order over one connection to a service on SQLite. p is the probability of such a difference between equal",
        "times, by the Mann-Whitney U test and the Kolmogorov-Smirnov test.",
        "",
        *record.table(["request", "another project's", "missing", "p (Mann-Whitney)", "p (Kolmogorov-Smirnov)"], rows),
        "",
        f"At a level of {LEVEL:.0%} for all {2 * len(OPERATIONS)} tests together, so that each p must be at least",
        f"{bound:.2g}: **{result}**;",
        f"the least p is {least:.2g}.",
    ]
    record.write("key_timing", "Time of a stranger's 404 and of a missing job's", lines)


if __name__ == "__main__":
    main()
