"""Arguments that several commands share."""

from typing import Annotated

import typer


def _one(job_id: str) -> str:
    if not job_id.strip():
        raise typer.BadParameter("a job's id cannot be empty")
    return job_id


def _several(job_ids: list[str]) -> list[str]:
    return [_one(job_id) for job_id in job_ids]


JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.", callback=_one)]
JobsArgument = Annotated[
    list[str], typer.Argument(metavar="JOB...", help="The job's id; with --plot, several.", callback=_several)
]
