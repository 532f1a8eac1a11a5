"""`submit`, `clone`, `fork`, `validate` and `watch`: commands that queue or follow one job."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Annotated, TextIO

import typer

from costcurve.cli.arguments import JobArgument
from costcurve.cli.command import ServiceOptions
from costcurve.cli.exit_codes import ExitCode
from costcurve.cli.formatting import duration, figure, outcome, value_text
from costcurve.cli.job_options import (
    JobOptions,
    KeyOptions,
    PlaceOptions,
    SourceOptions,
    TermsOptions,
    overrides,
    submission,
)
from costcurve.cli.output import tell, write_json, write_line
from costcurve.cli.progress import display_on, latest_figures
from costcurve.client.client import Client
from costcurve.client.types import Forecast, Job, SpecWarning, SubmittedJob, Validation

WatchOption = Annotated[bool, typer.Option("--watch", help="Show the progress until the job ends.")]


def submit(
    source: SourceOptions, job: JobOptions, again: KeyOptions, service: ServiceOptions, watch: WatchOption = False
) -> None:
    """Queue a training job and print its id.

    Options override the file, and the file overrides the preset.

    costcurve submit --preset neuron-slow-quadratic

    costcurve submit --experiment mnist --loss quadratic --epochs 5 --watch

    costcurve submit --experiment neuron --init '{"scheme": "constant", "weight": 2, "bias": 2}'
    """
    arguments, key = submission(source, job), again.key()
    with service.client() as client:
        with submitting(key):
            submitted = client.submit(**arguments, idempotency_key=key)
            _print_id(submitted, service)
        _hand_over(client, submitted, service, watch=watch)


def clone(
    job_id: JobArgument, job: JobOptions, again: KeyOptions, service: ServiceOptions, watch: WatchOption = False
) -> None:
    """Queue a job again with the options' changes, and print its id.

    costcurve clone job_... --loss cross_entropy --watch
    """
    arguments, key = overrides(job), again.key()
    with service.client() as client:
        with submitting(key):
            submitted = client.clone(job_id, **arguments, idempotency_key=key)
            _print_id(submitted, service)
        _hand_over(client, submitted, service, watch=watch)


def fork(
    job_id: JobArgument,
    at_epoch: Annotated[int, typer.Option(min=1, help="The first epoch that differs; for a neuron, the first update.")],
    terms: TermsOptions,
    place: PlaceOptions,
    again: KeyOptions,
    service: ServiceOptions,
    watch: WatchOption = False,
) -> None:
    """Queue a job that equals another up to an epoch and then differs, and print its id.

    The loss, the reduction or the learning rate changes at that epoch. Until then the two jobs are equal bit for bit.

    costcurve fork job_... --at-epoch 5 --loss cross_entropy --watch
    """
    arguments, key = terms.terms() | place.place(), again.key()
    with service.client() as client:
        with submitting(key):
            submitted = client.fork(job_id, at_epoch=at_epoch, **arguments, idempotency_key=key)
            _print_id(submitted, service)
        _hand_over(client, submitted, service, watch=watch)


def _print_id(submitted: Job, service: ServiceOptions) -> None:
    if not service.as_json:
        write_line(submitted.id)
        sys.stdout.flush()


def _hand_over(client: Client, submitted: SubmittedJob, service: ServiceOptions, *, watch: bool) -> None:
    """Print the warnings about the new job, and watch it if requested; with --json, print its newest state."""
    if not service.as_json:
        for warning in submitted.warnings:
            tell(_warning_text(warning))
    if not watch:
        if service.as_json:
            write_json(submitted)
        tell(f"`costcurve watch {submitted.id}` shows its progress")
        return
    ended = follow(client, submitted.id, None if service.as_json else sys.stderr)
    if service.as_json:
        write_json(ended)
    else:
        tell(f"{ended.id} {outcome(ended)}")
    end_as(ended)


def validate(source: SourceOptions, job: JobOptions, service: ServiceOptions) -> None:
    """Check a job without queueing it: defaults, estimated cost, forecast and warnings.

    Takes the options of `submit`.
    """
    arguments = submission(source, job)
    with service.client() as client:
        validation = client.validate(**arguments)
    if service.as_json:
        write_json(validation)
    else:
        write_line(_text(validation))


def _text(validation: Validation) -> str:
    lines = [
        f"{key}: {value_text(key, value) if key in ('init', 'schedule') else value}"
        for key, value in validation.spec.items()
        if value not in (None, [])
    ]
    lines.append(
        f"{validation.total_steps:,} steps; about {duration(validation.estimated_seconds)} on one CPU core, "
        f"{validation.estimated_memory_bytes >> 20:,} MiB"
    )
    if validation.forecast is not None:
        lines.append(_forecast_text(validation.forecast))
    lines += map(_warning_text, validation.warnings)
    return "\n".join(lines)


def _forecast_text(forecast: Forecast) -> str:
    """Return the forecast in a few lines: the start's main figures, the sound rates or the neuron's course."""
    shown = ("slowdown_factor", "saturated_fraction", "mean_sigmoid_prime", "update_ratio", "output")
    figures = [f"{name} {figure(name, value)}" for name, value in forecast.start.items() if name.startswith(shown)]
    lines = ["expected at the start: " + ", ".join(figures)]
    if (rates := forecast.learning_rate) is not None:
        lines.append(
            f"effective learning rate {rates.effective:.3g}; sound: about {rates.sound:.3g}, from {rates.lowest:.3g} "
            f"to {rates.highest:.3g}"
        )
    if (course := forecast.course) is not None:
        half = "not half way" if course.halfway_update is None else f"half way at update {course.halfway_update:,}"
        lines.append(f"simulated: {half}; output {figure('output', course.final_output)} after {course.updates:,}")
    return "\n".join(lines)


def _warning_text(warning: SpecWarning) -> str:
    return f"warning ({warning.code}): {warning.message}"


def watch(job_id: JobArgument, service: ServiceOptions) -> None:
    """Follow a job until it ends, and show its progress.

    The exit code is 0 if it succeeded, 1 if it failed or was cancelled. Ctrl-C ends the watching, not the job.
    """
    with service.client() as client:
        job = follow(client, job_id, None if service.as_json else sys.stdout)
    if service.as_json:
        write_json(job)
    else:
        write_line(f"{job.id} {outcome(job)}")
    end_as(job)


def follow(client: Client, job_id: str, stream: TextIO | None) -> Job:
    """Wait for a job, and return it when it has ended.

    Args:
        client: the client of the service.
        job_id: the job.
        stream: where to show the progress; nowhere if None.
    """
    with leaving(job_id, "costcurve"):
        if stream is None:
            return client.wait(job_id)
        with display_on(stream, transient=True) as display:
            return client.wait(
                job_id,
                on_update=lambda job: (
                    None if job.is_terminal else display.show(job.id, job, latest_figures(client, job))
                ),
            )


@contextmanager
def leaving(watched: str, commands: str) -> Iterator[None]:
    """Return a context in which Ctrl-C ends only the watching.

    Args:
        watched: id of the job or sweep, which continues.
        commands: the start of its commands: `costcurve` or `costcurve sweep`.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        tell(
            f"{watched} continues; `{commands} watch {watched}` follows it again, `{commands} cancel {watched}` ends it"
        )
        raise typer.Exit(ExitCode.INTERRUPTED) from interrupt


def submitting(key: str) -> AbstractContextManager[None]:
    """Return a context in which Ctrl-C explains how to repeat the submission."""
    return in_doubt(
        f"the job may have been queued: repeat the command with --idempotency-key {key}, "
        "and the job is queued only once"
    )


def changing(look: str) -> AbstractContextManager[None]:
    """Return a context in which Ctrl-C warns of a possible change.

    `look` is the command that shows whether the change was made.
    """
    return in_doubt(f"the change may have been made: `{look}` shows the current state")


@contextmanager
def in_doubt(text: str) -> Iterator[None]:
    """Print the text on Ctrl-C, and exit with code 130."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        tell(f"interrupted; {text}")
        raise typer.Exit(ExitCode.INTERRUPTED) from interrupt


def end_as(job: Job) -> None:
    """Exit with code 1 unless the job has succeeded."""
    if not job.succeeded:
        raise typer.Exit(ExitCode.FAILED)
