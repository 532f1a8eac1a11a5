"""Positional arguments (ids of jobs and sweeps) that several commands share."""

from typing import Annotated

import typer


def _one(given: str) -> str:
    if not given.strip():
        raise typer.BadParameter("an id cannot be empty")
    return given


def _several(job_ids: list[str]) -> list[str]:
    return [_one(job_id) for job_id in job_ids]


def _at_least_two(job_ids: list[str]) -> list[str]:
    if len(job_ids) < 2:
        raise typer.BadParameter("at least two jobs are needed")
    return _several(job_ids)


JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.", callback=_one)]
SweepArgument = Annotated[str, typer.Argument(metavar="SWEEP", help="The sweep's id.", callback=_one)]
JobsArgument = Annotated[
    list[str], typer.Argument(metavar="JOB...", help="Ids of one or several jobs.", callback=_several)
]
ComparedJobsArgument = Annotated[
    list[str], typer.Argument(metavar="JOB JOB...", help="The jobs' ids.", callback=_at_least_two)
]
