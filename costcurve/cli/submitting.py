"""`submit` and `validate`."""

import sys
from typing import Annotated

import typer

from costcurve.answers import Validation
from costcurve.cli.command import ServiceOptions
from costcurve.cli.describe import duration, init_text, outcome
from costcurve.cli.output import tell, write, write_json, write_line
from costcurve.cli.submission import SubmissionOptions
from costcurve.cli.watching import end_as, follow


def submit(
    job: SubmissionOptions,
    service: ServiceOptions,
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and show its progress until it ends.")] = False,
) -> None:
    """Queue a training job and print its id.

    Options override what the file says, and the file overrides the preset.

    costcurve submit --preset neuron-slow-quadratic

    costcurve submit --experiment mnist --loss quadratic --epochs 5 --watch

    costcurve submit --experiment neuron --init '{"scheme": "constant", "weight": 2, "bias": 2}'
    """
    arguments = job.arguments()
    with service.client() as client:
        submitted = client.submit(**arguments)
        if not service.as_json:
            write_line(submitted.id)
            sys.stdout.flush()
        elif not watch:
            write_json(submitted)
        if not watch:
            tell(f"`costcurve watch {submitted.id}` shows how it goes")
            return
        ended = follow(client, submitted.id, None if service.as_json else sys.stderr)
    if service.as_json:
        write_json(ended)
    else:
        tell(f"{ended.id} {outcome(ended)}")
    end_as(ended)


def validate(job: SubmissionOptions, service: ServiceOptions) -> None:
    """Check a job without queueing it: every default filled in, what it will cost, and warnings.

    Takes the options of `submit`.
    """
    arguments = job.arguments()
    with service.client() as client:
        validation = client.validate(**arguments)
    if service.as_json:
        write_json(validation)
    else:
        write(_text(validation))


def _text(validation: Validation) -> str:
    lines = [
        f"{key}: {init_text(value) if key == 'init' else value}"
        for key, value in validation.spec.items()
        if value is not None
    ]
    lines.append(
        f"{validation.total_steps:,} steps; about {duration(validation.estimated_seconds)} on one CPU core, "
        f"{validation.estimated_memory_bytes >> 20:,} MiB"
    )
    lines += [f"warning ({warning.code}): {warning.message}" for warning in validation.warnings]
    return "\n".join(lines) + "\n"
