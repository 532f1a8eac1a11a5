"""What stands above a picture, in words."""

from collections.abc import Sequence

from costcurve.core.job import Job
from costcurve.core.spec import AnySpec, NeuronSpec


def title_of(job: Job) -> str:
    """The job's name; of one without a name, what it trains."""
    return job.name or _summary(job.spec)


def title_of_all(jobs: Sequence[Job]) -> str:
    """Of several jobs of one experiment, how many and which."""
    return f"{len(jobs)} jobs compared: {_experiment(jobs[0].spec)}" if len(jobs) > 1 else title_of(jobs[0])


def value_text(value: object) -> str:
    """The value of a field of a spec, in a few characters."""
    if isinstance(value, list | tuple):
        # Sizes of layers are written so everywhere; of other numbers it would look like a range.
        return ("-" if all(isinstance(each, int) for each in value) else ", ").join(map(value_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _experiment(spec: AnySpec) -> str:
    return "one sigmoid neuron" if isinstance(spec, NeuronSpec) else "MNIST"


def _summary(spec: AnySpec) -> str:
    what = "One sigmoid neuron" if isinstance(spec, NeuronSpec) else f"MNIST {value_text(spec.layers)}"
    changed = {key: value for key, value in spec.init.model_dump().items() if key != "scheme"}
    init = ", ".join(f"{key} {value_text(value)}" for key, value in changed.items() if value != 0)
    scheme = f"{spec.init.scheme} init" + (f" ({init})" if init else "")
    return f"{what}: {spec.loss} loss, {scheme}, learning rate {spec.learning_rate:g}"
