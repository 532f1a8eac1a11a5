"""Options that describe a job, and the arguments that they make.

They make a submission (together with its source), or the overrides of a clone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from costcurve.cli.inputs import parsed, read
from costcurve.client.arguments import checked_key
from costcurve.client.errors import CostCurveError
from costcurve.core.losses import LOSSES

_WHAT = "What to train"
_WHERE = "Where and when"


def _what(text: str, **options: Any) -> Any:
    return typer.Option(help=text, rich_help_panel=_WHAT, show_default=False, **options)


def _where(text: str, **options: Any) -> Any:
    return typer.Option(help=text, rich_help_panel=_WHERE, show_default=False, **options)


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Options that name the source of a submission: preset, file or experiment."""

    preset: Annotated[str | None, _what("Name of a preset to start from; `costcurve presets` lists them.")] = None
    spec: Annotated[
        str | None,
        _what("JSON file with a spec or a whole request body; - means standard input.", metavar="FILE"),
    ] = None
    experiment: Annotated[str | None, _what("neuron or mnist.")] = None


@dataclass(frozen=True, kw_only=True)
class TermsOptions:
    """Options for what a schedule may change: loss, reduction and learning rate."""

    loss: Annotated[str | None, _what(f"{' or '.join(LOSSES)}.")] = None
    reduction: Annotated[str | None, _what("sum_outputs or mean_outputs.")] = None
    learning_rate: Annotated[float | None, _what("Step per update.")] = None

    def terms(self) -> dict[str, Any]:
        """Return the given ones. Raises typer.BadParameter."""
        rate = _finite(self.learning_rate, "--learning-rate")
        return _given(loss=self.loss, reduction=self.reduction, learning_rate=rate)


@dataclass(frozen=True, kw_only=True)
class PlaceOptions:
    """Options for the device of a job, its priority, its name and its tags."""

    device: Annotated[str | None, _where("auto, cpu or cuda.")] = None
    engine: Annotated[str | None, _where("auto, or the engine that must train the job.")] = None
    name: Annotated[str | None, _where("Display name of the job.")] = None
    tag: Annotated[list[str], _where("Tag to find the job by; repeatable.", metavar="KEY=VALUE")] = field(
        default_factory=list
    )
    priority: Annotated[int | None, _where("0 to 100, higher first.")] = None
    max_runtime: Annotated[float | None, _where("Seconds of training after which the job fails.")] = None

    def place(self) -> dict[str, Any]:
        """Return the given fields outside the spec: device, name, tags, priority.

        Engine and time limit belong to them, too.

        Raises:
            typer.BadParameter: an option has a value that is not valid.
        """
        return _given(
            device=self.device,
            engine=self.engine,
            name=self.name,
            tags=tags_of(self.tag) or None,
            priority=self.priority,
            max_runtime_seconds=_finite(self.max_runtime, "--max-runtime"),
        )


@dataclass(frozen=True, kw_only=True)
class JobOptions(PlaceOptions, TermsOptions):
    """Options for the spec of a job, its device and its priority.

    An option that is not given keeps the value of the preset, file or job that the job starts from.
    """

    init: Annotated[
        str | None,
        _what(
            "normal, scaled_normal, xavier, constant or zeros; or JSON with a scheme and its parameters.",
            metavar="INIT",
        ),
    ] = None
    epochs: Annotated[int | None, _what("Number of epochs to train.")] = None
    layers: Annotated[str | None, _what("mnist: units of each layer, such as 784,30,10.", metavar="A,B,…")] = None
    batch_size: Annotated[int | None, _what("mnist: images per update.")] = None
    steps_per_epoch: Annotated[int | None, _what("mnist: updates per epoch.")] = None
    patience: Annotated[int | None, _what("mnist: stop after this number of epochs without improvement.")] = None
    input: Annotated[float | None, _what("neuron: the input x.")] = None
    target: Annotated[float | None, _what("neuron: the output it should learn.")] = None
    seed: Annotated[int | None, _what("Seed of all random numbers.")] = None
    schedule: Annotated[
        str | None,
        _what(
            "JSON array of changes, each with from_epoch and loss, reduction or learning_rate; [] for none.",
            metavar="JSON",
        ),
    ] = None

    def spec(self) -> dict[str, Any]:
        """Return the fields of the spec that are given.

        Raises:
            typer.BadParameter: an option has a value that is not valid.
        """
        spec = self.terms() | _given(
            init=_init(self.init),
            epochs=self.epochs,
            layers=_layers(self.layers),
            batch_size=self.batch_size,
            steps_per_epoch=self.steps_per_epoch,
            input=_finite(self.input, "--input"),
            target=_finite(self.target, "--target"),
            seed=self.seed,
        )
        if self.schedule is not None:
            spec["schedule"] = parsed_json(self.schedule, option="--schedule")
        if self.patience is not None:
            spec["early_stopping"] = {"metric": "validation_accuracy", "patience": self.patience}
        return spec


@dataclass(frozen=True, kw_only=True)
class KeyOptions:
    """The idempotency key of a submission, which the service makes only once."""

    idempotency_key: Annotated[
        str | None,
        _where(
            "Key of this submission; repeated with the same key, it is queued once. Default: a new key.", metavar="KEY"
        ),
    ] = None

    def key(self) -> str:
        """Return the given key, or a fresh one. Raises typer.BadParameter."""
        try:
            return checked_key(self.idempotency_key)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--idempotency-key") from error


def submission(source: SourceOptions, job: JobOptions) -> dict[str, Any]:
    """Return the arguments of the client's `submit`; options override the file.

    Raises:
        typer.BadParameter: an option or the file is not valid, or neither an experiment nor a preset is given.
    """
    arguments = _read(source.spec) if source.spec is not None else {}
    spec = {**(arguments.pop("spec", None) or {}), **_given(experiment=source.experiment), **job.spec()}
    place = job.place()
    tags = {**(arguments.pop("tags", None) or {}), **place.pop("tags", {})}
    arguments |= place | _given(spec=spec or None, preset=source.preset, tags=tags or None)
    if "experiment" not in spec and arguments.get("preset") is None:
        raise typer.BadParameter(
            "nothing to train is given; use --preset NAME, --experiment neuron|mnist or --spec FILE"
        )
    return arguments


def overrides(job: JobOptions) -> dict[str, Any]:
    """Return the arguments of the client's `clone`. Raises typer.BadParameter."""
    return job.place() | _given(spec=job.spec() or None)


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _read(file: str) -> dict[str, Any]:
    """Return the request body in the file. Raises typer.BadParameter.

    An object with neither `spec` nor `preset` is itself the spec.
    """
    try:
        document = parsed(read(file))
    except (CostCurveError, ValueError) as error:
        text = str(error) if isinstance(error, CostCurveError) else f"{file} is {error}"
        raise typer.BadParameter(text, param_hint="--spec") from error
    if not isinstance(document, dict):
        raise typer.BadParameter(f"{file} does not contain a JSON object", param_hint="--spec")
    body = document if document.keys() & {"spec", "preset"} else {"spec": document}
    for member in ("spec", "tags", "grid"):
        if not isinstance(body.get(member), dict | None):
            raise typer.BadParameter(f"{file}: /{member} must be an object", param_hint="--spec")
    return body


def _init(text: str | None) -> Any:
    if text is None or not text.lstrip().startswith("{"):
        return text
    return parsed_json(text, option="--init")


def parsed_json(text: str, *, option: str) -> Any:
    """Return the value of an option given as JSON. Raises typer.BadParameter."""
    try:
        return parsed(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def _layers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is not a list of whole numbers, such as 784,30,10", param_hint="--layers"
        ) from error


def _finite(value: float | None, option: str) -> float | None:
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number", param_hint=option)
    return value


def tags_of(given: Sequence[str]) -> dict[str, str]:
    """Return the tags given as KEY=VALUE. Raises typer.BadParameter."""
    tags: dict[str, str] = {}
    for tag in given:
        key, separator, value = tag.partition("=")
        if not separator or not key:
            raise typer.BadParameter(f"{tag!r} is not KEY=VALUE", param_hint="--tag")
        if key in tags:
            raise typer.BadParameter(
                f"the key {key!r} is given twice, as {tags[key]!r} and {value!r}; a job has one value for each key",
                param_hint="--tag",
            )
        tags[key] = value
    return tags
