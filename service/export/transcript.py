"""The transcript of a training, in the lines that the article prints."""

from collections.abc import Iterable, Iterator

from costcurve.core.curve import Curve
from costcurve.core.job import Job
from costcurve.core.spec import TEST_IMAGES, NeuronSpec


def transcript(job: Job, runs: Iterable[Curve]) -> Iterator[str]:
    """Yield the lines of a job's transcript from the pieces of its curve.

    mnist: `Epoch 0: 9067 / 10000`, the test images read correctly after each epoch. After the job has ended, the last
    line has the best count. neuron: `Epoch 0: cost 0.334245 output 0.817574`, the state after that number of updates.
    """
    if isinstance(job.spec, NeuronSpec):
        for run in runs:
            points = zip(range(run.start, run.end), run.series["cost"], run.series["output"], strict=True)
            yield "".join(f"Epoch {x}: cost {cost:.6f} output {output:.6f}\n" for x, cost, output in points)
        return
    best: float | None = None
    for run in runs:
        found = run.series["correct"]
        yield "".join(f"Epoch {x}: {correct:.0f} / {TEST_IMAGES}\n" for x, correct in enumerate(found, start=run.start))
        best = max([best or 0.0, *found])
    if best is not None and job.is_terminal:
        yield f"best: {best:.0f} / {TEST_IMAGES}\n"
