"""`python -m costcurve.store keys …` and `projects …`: keys and projects, on the machine of the database."""

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from costcurve.core.access import ProjectLimits, Scope
from costcurve.core.errors import ApiError, ProjectExists
from costcurve.store import JobStore
from costcurve.store.database import Database

_LIMITS: dict[str, Callable[[str], float]] = {
    **dict.fromkeys(("priority", "queued_jobs", "sweep_cells", "submission_bytes"), int),
    **dict.fromkeys(("max_runtime_seconds", "submission_seconds"), float),
}


def add_access_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands `keys` and `projects` to the parser of `python -m costcurve.store`."""
    keys = commands.add_parser("keys", help="create, list and revoke keys").add_subparsers(dest="action", required=True)
    create = keys.add_parser("create", help="create a key; its secret is printed once, on standard output")
    create.add_argument("project", help="its project, which is created if it does not exist")
    create.add_argument("--name", default="key", help="name of the key in events and logs (%(default)s)")
    create.add_argument(
        "--scope", action="append", choices=[*Scope], help="may be repeated; without it: read and submit"
    )
    create.add_argument("--expires", type=_moment, help="time in ISO 8601, in UTC unless it has an offset")
    listing = keys.add_parser("list", help="list keys, without their secrets")
    listing.add_argument("project", nargs="?")
    keys.add_parser("revoke", help="revoke a key").add_argument("key_id", metavar="KEY")
    projects = commands.add_parser("projects", help="create, list and limit projects")
    actions = projects.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="list projects and their own limits")
    for name, text in (("create", "create a project"), ("limit", "change a project's limits")):
        parser = actions.add_parser(name, help=text)
        parser.add_argument("project")
        for field, kind in _LIMITS.items():
            parser.add_argument(f"--{field.replace('_', '-')}", type=kind)


def run_access_command(database: Database, arguments: argparse.Namespace) -> int:
    """Run `keys …` or `projects …`; return 0, or 1 if it was refused."""
    store = JobStore(database)
    try:
        (_keys if arguments.command == "keys" else _projects)(store, arguments)
    except ApiError as refused:
        sys.stderr.write(f"cannot {arguments.action}: {refused.detail}\n")
        return 1
    return 0


def _keys(store: JobStore, arguments: argparse.Namespace) -> None:
    if arguments.action == "create":
        _ensure_project(store, arguments.project)
        scopes = [Scope(scope) for scope in arguments.scope or (Scope.READ, Scope.SUBMIT)]
        key, secret = store.create_key(
            arguments.project, name=arguments.name, scopes=scopes, expires_at=arguments.expires
        )
        sys.stderr.write(f"{key.id}: keep the key, it is not shown again\n")
        sys.stdout.write(f"{secret}\n")
    elif arguments.action == "revoke":
        sys.stdout.write(f"{store.revoke_key(arguments.key_id).id} is revoked\n")
    else:
        for key in store.keys(arguments.project):
            state = (
                "revoked" if key.revoked_at else f"expires {key.expires_at:%Y-%m-%d %H:%M}" if key.expires_at else ""
            )
            used = f"used {key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never used"
            rights = ",".join(sorted(key.scopes))
            sys.stdout.write("\t".join((key.id, key.project, key.name, key.prefix, rights, used, state)) + "\n")


def _projects(store: JobStore, arguments: argparse.Namespace) -> None:
    if arguments.action == "list":
        for project in store.projects():
            own = project.limits.model_dump(exclude_none=True)
            sys.stdout.write("\t".join((project.name, *(f"{name}={value}" for name, value in own.items()))) + "\n")
        return
    limits = ProjectLimits(**{name: value for name in _LIMITS if (value := getattr(arguments, name)) is not None})
    if arguments.action == "create":
        made = store.create_project(arguments.project, limits=limits)
    else:
        made = store.update_project(arguments.project, limits=limits)
    sys.stdout.write(f"{made.name}: {made.limits.model_dump_json(exclude_none=True)}\n")


def _ensure_project(store: JobStore, name: str) -> None:
    if name in {project.name for project in store.projects()}:
        return
    try:
        store.create_project(name)
    except ProjectExists:
        return  # another process was faster


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
