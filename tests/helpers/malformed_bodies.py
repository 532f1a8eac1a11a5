"""Thousands of malformed requests against a running service: `python -m tests.helpers.malformed_bodies [--count 4000]`.

Each must be answered by a 4xx problem of less than 100 kB within a second. The few that happen to be right may be
answered by a 2xx.
"""

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx

from tests.helpers.processes import Deployment

MAX_SECONDS = 1.0
MAX_BYTES = 100_000
_LIMIT = 1 << 20
_STRINGS = [
    "",
    "a",
    "\ud800",
    "\x00",
    "\uffff",
    "\u202e",
    "x" * 1000,
    "é" * 300,
    "neuron",
    "mnist",
    "normal",
    "1e999",
    "../..",
]
_SCALARS = [None, True, False, 0, -1, 10**30, 2**63, -0.0, 1e308, float("nan"), float("inf"), 0.5, *_STRINGS]
_FIELDS = {
    "": [
        "spec",
        "preset",
        "name",
        "tags",
        "priority",
        "device",
        "engine",
        "grid",
        "variants",
        "try",
        "finding",
        "looks",
        "repeats",
        "max_runtime_seconds",
        "images",
    ],
    "spec": ["experiment", "loss", "init", "epochs", "layers", "learning_rate", "seed", "batch_size", "early_stopping"],
    "init": ["scheme", "std", "output_bias", "weight", "bias"],
    "grid": ["loss", "epochs", "init", "layers", "seed", "learning_rate", "experiment"],
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request."""

    kind: str
    method: str
    path: str
    content: bytes
    headers: dict[str, str]


def attempts(seed: int, job: str) -> Iterator[Attempt]:
    """Yield malformed requests without end, the same for the same seed; `job` is the path of a job."""
    chance = random.Random(seed)
    routes = [
        ("POST", "/v1/jobs"),
        ("POST", "/v1/jobs:validate"),
        ("POST", "/v1/sweeps"),
        ("POST", f"{job}/clone"),
        ("POST", f"{job}/trial"),
        ("POST", "/v1/sweeps/swp_0/extend"),
        ("PATCH", job),
    ]
    kinds = [
        _tree,
        _tree,
        _tree,
        _broken,
        _bytes,
        _repeated,
        _many_keys,
        _many_elements,
        _deep,
        _huge_text,
        _huge_number,
        _encoded,
        _grid,
    ]
    while True:
        kind = chance.choice(kinds)
        method, path = chance.choice(routes)
        if chance.random() < 0.1:
            method, path = "POST", "/v1/jobs/job_0/predict"
        headers = {"Content-Type": "application/json"}
        if chance.random() < 0.05:
            headers |= chance.choice(
                [{"Content-Type": "text/plain"}, {"Content-Encoding": "gzip"}, {"Accept": "*/*;q=0"}]
            )
        if chance.random() < 0.05:
            path += "?" + "&".join(f"x{number}=1" for number in range(chance.choice([1, 60, 2000])))
        yield Attempt(kind.__name__.strip("_"), method, path, kind(chance), headers)


def refused(client: httpx.Client, attempt: Attempt) -> tuple[float, int, int]:
    """Send it; the seconds, bytes and status of the response, of which all that must hold holds."""
    started = perf_counter()
    answer = client.request(attempt.method, attempt.path, content=attempt.content, headers=attempt.headers)
    seconds = perf_counter() - started
    shown = f"{attempt.kind} {attempt.method} {attempt.path[:80]} {attempt.content[:200]!r}: {answer.text[:500]}"
    assert answer.status_code < 500, shown
    if answer.is_error:
        assert answer.headers["content-type"] == "application/problem+json", shown
        assert answer.json()["code"], shown
        assert len(answer.content) < MAX_BYTES, f"{len(answer.content)} bytes: {shown}"
    return seconds, len(answer.content), answer.status_code


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode()[:_LIMIT]


def _value(chance: random.Random, field: str, depth: int = 0) -> Any:
    roll = chance.random()
    if field in _FIELDS and (depth == 0 or roll < 0.6):
        names = chance.sample(_FIELDS[field], chance.randint(0, 4)) + chance.sample(_STRINGS, chance.randint(0, 1))
        return {name: _value(chance, name, depth + 1) for name in names}
    if roll < 0.15 and depth < 5:
        return [_value(chance, field, depth + 1) for _ in range(chance.randint(0, 4))]
    return chance.choice(_SCALARS)


def _tree(chance: random.Random) -> bytes:
    return _dumped(_value(chance, ""))


def _broken(chance: random.Random) -> bytes:
    whole = _tree(chance)
    at = chance.randrange(len(whole) + 1)
    return whole[:at] + chance.choice([b"", b",", b"}", b"\xff", b"\x00", b'"']) + whole[at + chance.randint(0, 2) :]


def _bytes(chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice([0, 1, 10, 1000, 100_000]))


def _repeated(chance: random.Random) -> bytes:
    members = ",".join('"spec": {"experiment": "neuron"}' for _ in range(chance.choice([2, 200, 20_000])))
    return f"{{{members}}}".encode()[:_LIMIT]


def _many_keys(chance: random.Random) -> bytes:
    count = chance.choice([100, 256, 257, 5_000, 60_000])
    keys = {f"{chance.choice('ké')}{number}": number for number in range(count)}
    return _dumped(chance.choice([keys, {"spec": keys}, {"tags": keys}, {"spec": {"init": keys}}, {"grid": keys}]))


def _many_elements(chance: random.Random) -> bytes:
    values = [chance.choice([1, "x", None, [], "784"])] * chance.choice([17, 1_000, 40_000, 100_000])
    places = [
        {"spec": {"experiment": "mnist", "layers": values}},
        {"images": values},
        {"images": [values]},
        {"tags": values},
    ]
    places += [{"spec": {"experiment": "mnist", "init": {"scheme": "normal", "std": values}}}, values]
    return _dumped(chance.choice(places))


def _grid(chance: random.Random) -> bytes:
    values = [chance.choice([-1, "x", {"scheme": "x"}, {}, 10**400]) for _ in range(chance.choice([1, 100, 5_000]))]
    grid = {chance.choice(_FIELDS["grid"]): values, chance.choice(_FIELDS["grid"]): [chance.choice(_SCALARS)]}
    return _dumped({"spec": {"experiment": chance.choice(["neuron", "mnist"])}, "grid": grid})


def _deep(chance: random.Random) -> bytes:
    depth = chance.choice([50, 500, 900, 20_000])
    opening, closing = chance.choice([(b"[", b"]"), (b'{"spec":', b"}")])
    inner = opening * depth + b"1" + closing * depth
    return chance.choice([inner, b'{"spec": {"experiment": "neuron", "init": ' + inner + b"}}"])[:_LIMIT]


def _huge_text(chance: random.Random) -> bytes:
    text = chance.choice(["x", "\\ud800", "\\u202e", "é", "~/"]) * chance.choice([1_000, 100_000])
    name, experiment = chance.choice(["name", "preset", text, "device"]), chance.choice(["neuron", text])
    return f'{{"{name}": "{text}", "spec": {{"experiment": "{experiment}"}}}}'.encode()[:_LIMIT]


def _huge_number(chance: random.Random) -> bytes:
    number = chance.choice(["9" * 400, "9" * 4_000, "9" * 5_000, "9" * 100_000, "1e400", "-0", "0." + "1" * 10_000])
    field = chance.choice(["epochs", "learning_rate", "seed", "input"])
    return f'{{"spec": {{"experiment": "neuron", "{field}": {number}}}}}'.encode()


def _encoded(chance: random.Random) -> bytes:
    text = json.dumps(_value(chance, ""))
    return text.encode(chance.choice(["utf-16", "utf-8-sig", "utf-16-le", "utf-32", "utf-7"]))


def main() -> int:
    """Send `--count` of them to a service of its own, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=4_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    seen: Counter[int] = Counter()
    slowest, largest = (0.0, ""), (0, "")
    with tempfile.TemporaryDirectory() as folder, Deployment(Path(folder)) as deployment:
        deployment.start_service()
        job = f"/v1/jobs/{deployment.submit({'experiment': 'neuron'})}"
        with httpx.Client(base_url=deployment.url, timeout=60) as client:
            for attempt, _ in zip(attempts(options.seed, job), range(options.count), strict=False):
                seconds, size, status = refused(client, attempt)
                seen[status] += 1
                slowest = max(slowest, (seconds, attempt.kind))
                if status >= 400:
                    largest = max(largest, (size, attempt.kind))
    counts = ", ".join(f"{count} × {status}" for status, count in sorted(seen.items()))
    sys.stdout.write(
        f"{options.count} requests: {counts}; slowest {slowest[0]:.2f} s ({slowest[1]}); "
        f"largest error {largest[0]:,} bytes ({largest[1]})\n"
    )
    return 0 if slowest[0] < MAX_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
