"""`costcurve keys …` and `costcurve projects …`, on the machine of the database."""

from collections.abc import Callable
from typing import Annotated

import typer

from costcurve.cli.commands.database import become

ProjectArgument = Annotated[str, typer.Argument(help="Project: 1 to 63 lower-case letters, digits and hyphens.")]


def create_key(
    project: ProjectArgument,
    name: Annotated[str, typer.Option(help="Name of the key in events and logs.")] = "key",
    scope: Annotated[
        list[str] | None, typer.Option(help="read, submit or admin; may be repeated. Default: read and submit.")
    ] = None,
    expires: Annotated[str | None, typer.Option(help="Time in ISO 8601, in UTC unless it has an offset.")] = None,
) -> None:
    """Create a key of a project, and the project if it does not exist.

    The key is printed once, on standard output.
    """
    options = [option for each in scope or () for option in ("--scope", each)]
    options += [] if expires is None else ["--expires", expires]
    become("keys", "create", f"--name={name}", *options, "--", project)


def list_keys(project: Annotated[str | None, typer.Argument(help="Default: the keys of all projects.")] = None) -> None:
    """List keys, without their secrets."""
    become("keys", "list", "--", *([] if project is None else [project]))


def revoke_key(key: Annotated[str, typer.Argument(help="Id of the key: key_…")]) -> None:
    """Revoke a key."""
    become("keys", "revoke", "--", key)


def list_projects() -> None:
    """List projects and their own limits."""
    become("projects", "list")


def create_project(project: ProjectArgument) -> None:
    """Create a project."""
    become("projects", "create", "--", project)


KEYS: dict[str, Callable[..., None]] = {"create": create_key, "list": list_keys, "revoke": revoke_key}
PROJECTS: dict[str, Callable[..., None]] = {"create": create_project, "list": list_projects}
