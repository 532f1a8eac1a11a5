"""The application `costcurve`: its commands, in the order of the help."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import typer

from costcurve.cli.command import OneValue, OneValueGroup, command
from costcurve.cli.commands import database, sweeps
from costcurve.cli.commands.article import article
from costcurve.cli.commands.compare import compare
from costcurve.cli.commands.cure import cure
from costcurve.cli.commands.curves import curve, flow, transcript
from costcurve.cli.commands.demo import demo
from costcurve.cli.commands.diagnose import diagnose
from costcurve.cli.commands.jobs import cancel, delete, events, list_jobs, pause, presets, resume, show, update, workers
from costcurve.cli.commands.login import login, logout, me
from costcurve.cli.commands.models import confusion, mistakes, model, predict
from costcurve.cli.commands.server import serve, up, work
from costcurve.cli.commands.submit import clone, fork, submit, validate, watch
from costcurve.cli.exit_codes import MEANINGS
from costcurve.client.address import DEFAULT_URL

_EPILOG = "Exit codes: " + "; ".join(f"{code:d} {meaning}" for code, meaning in MEANINGS.items()) + "."

app = typer.Typer(
    name="costcurve",
    cls=OneValueGroup,
    help="Training as a service: submit a training job, watch its cost curve, learn why it learns slowly.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Begin here": {"demo": demo, "article": article, "up": up},
    "Jobs": {
        "submit": submit,
        "clone": clone,
        "fork": fork,
        "validate": validate,
        "watch": watch,
        "show": show,
        "list": list_jobs,
        "events": events,
        "pause": pause,
        "resume": resume,
        "cancel": cancel,
        "update": update,
        "delete": delete,
    },
    "Results": {
        "curve": curve,
        "compare": compare,
        "diagnose": diagnose,
        "flow": flow,
        "cure": cure,
        "transcript": transcript,
        "model": model,
        "predict": predict,
        "confusion": confusion,
        "mistakes": mistakes,
    },
    "Service": {
        "login": login,
        "logout": logout,
        "me": me,
        "presets": presets,
        "workers": workers,
        "serve": serve,
        "work": work,
    },
}

for panel, commands in _COMMANDS.items():
    for name, function in commands.items():
        app.command(name, cls=OneValue, rich_help_panel=panel, epilog=_EPILOG)(command(function))

_sweep = typer.Typer(
    help="Sweeps: many jobs, one for each cell and repeat of a grid.", no_args_is_help=True, epilog=_EPILOG
)
for name, function in sweeps.COMMANDS.items():
    _sweep.command(name, cls=OneValue, epilog=_EPILOG)(command(function))
app.add_typer(_sweep, name="sweep", rich_help_panel="Jobs")

_database = typer.Typer(help="Maintenance of the database, on its own machine.", no_args_is_help=True, epilog=_EPILOG)
for name, function in database.COMMANDS.items():
    _database.command(name, cls=OneValue, epilog=_EPILOG)(command(function))
app.add_typer(_database, name="db", rich_help_panel="Service")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"costcurve {version('costcurve')}")
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    url: Annotated[
        str | None,
        typer.Option(envvar="COSTCURVE_URL", metavar="URL", help=f"The service's address. Default: {DEFAULT_URL}"),
    ] = None,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Store the service's address, which holds for all commands."""
    ctx.obj = url
