"""Delays of a running service: reports, cancels and stops.

Measured with a real service and a real worker.
"""

import tempfile
import time
from pathlib import Path
from statistics import mean, median

import record

from costcurve import Client, Job
from costcurve.cli.interrupt import Interruption
from costcurve.cli.local_service import LocalService

LONG = {"experiment": "mnist", "epochs": 1000}
WIDE = {"experiment": "mnist", "epochs": 1000, "layers": [784, 5000, 10], "batch_size": 500, "steps_per_epoch": 50}


def main() -> None:
    """Measure, and write the record."""
    rows, stops = [], []
    for _ in range(5):
        with tempfile.TemporaryDirectory() as home:
            with LocalService(home=Path(home), port=0, workers=1) as local, Client(local.url) as client:
                local.wait_until_ready(Interruption())
                running(client, client.submit(LONG).id)
                started = time.monotonic()
            stops.append(time.monotonic() - started)
    with (
        tempfile.TemporaryDirectory() as home,
        LocalService(home=Path(home), port=0, workers=1) as local,
        Client(local.url) as client,
    ):
        local.wait_until_ready(Interruption())
        for name, spec in (("default MNIST", LONG), ("[784, 5000, 10], batch 500", WIDE)):
            gaps = report_gaps(client, spec)
            rows.append([f"between two reports, {name}", f"{mean(gaps):.2f}", f"{max(gaps):.2f}", str(len(gaps))])
            cancels = [cancel(client, spec) for _ in range(10)]
            rows.append([f"from cancel to cancelled, {name}", f"{median(cancels):.2f}", f"{max(cancels):.2f}", "10"])
    rows.append(["service and worker stopped while training", f"{median(stops):.2f}", f"{max(stops):.2f}", "5"])
    text = ["Times in seconds. For reports, typical is the mean; for the others, the median.", ""]
    record.write(
        "responsiveness", "Responsiveness", text + record.table(["delay", "typical", "longest", "samples"], rows)
    )


def running(client: Client, job_id: str) -> Job:
    """Wait until the job has trained a step, and return it."""
    while not (job := client.get(job_id)).progress.step:
        time.sleep(0.02)
    return job


def report_gaps(client: Client, spec: dict[str, object], seconds: float = 10) -> list[float]:
    """Return the seconds between reports, as a busily polling client sees them."""
    job = running(client, client.submit(spec).id)
    seen, last, gaps = job.version, time.monotonic(), []
    end = last + seconds
    while time.monotonic() < end:
        version = client.get(job.id).version
        if version != seen:
            now = time.monotonic()
            gaps.append(now - last)
            seen, last = version, now
        time.sleep(0.01)
    client.cancel(job.id)
    client.wait(job.id)
    return gaps


def cancel(client: Client, spec: dict[str, object]) -> float:
    """Return the seconds from a cancel request to the job's end."""
    job = running(client, client.submit(spec).id)
    started = time.monotonic()
    client.cancel(job.id)
    client.wait(job.id, poll=0.01)
    return time.monotonic() - started


if __name__ == "__main__":
    main()
