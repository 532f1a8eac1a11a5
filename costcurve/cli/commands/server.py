"""`up`, `serve` and `work`: the service and its workers on this machine."""

import os
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import make_dataclass
from typing import Annotated, Any

import typer

from costcurve.cli.command import JsonOption
from costcurve.cli.interrupt import Interruption
from costcurve.cli.local_service import SERVICE, WORKERS, LocalService, home_folder, require, require_program
from costcurve.cli.output import tell, write_json, write_line
from costcurve.runtime.worker_options import FLEET_OPTIONS, WORKER_OPTIONS, WorkerOption

HostOption = Annotated[str, typer.Option(help="Address to listen on.")]
PortOption = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free one.")]
_LOOPBACK = ("127.", "localhost", "::1")


def up(
    host: HostOption = "127.0.0.1",
    port: PortOption = 8000,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes. Default: one for each device.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a service and its workers on this machine until Ctrl-C.

    COSTCURVE_HOME names the folder for jobs and results. With --json, one line {"url", "home"} is printed when the
    service is ready.
    """
    with (
        Interruption() as interruption,
        LocalService(home=home_folder(), host=host, port=port, workers=workers) as local,
    ):
        if not host.startswith(_LOOPBACK) and os.environ.get("COSTCURVE_AUTH") != "keys":
            tell(f"note: {host} is open to other machines, and the service asks for no key")
        if not local.wait_until_ready(interruption):
            return
        if as_json:
            write_json({"url": local.url, "home": str(local.home)})
        else:
            write_line(f"CostCurve is ready at {local.url}  (docs at {local.url}/docs)")
            kept = "the database of COSTCURVE_DATABASE_URL" if os.environ.get("COSTCURVE_DATABASE_URL") else local.home
            write_line(f"Jobs and results are kept in {kept}. Ctrl-C ends the service and its workers.")
        sys.stdout.flush()
        local.run(interruption)
        tell("ending …")


def serve(
    host: HostOption = "127.0.0.1",
    port: PortOption = 8000,
    fd: Annotated[
        int | None, typer.Option(help="Descriptor of an inherited socket to listen on instead.", show_default=False)
    ] = None,
) -> None:
    """Run only the service, without workers, in this process."""
    require_program("service", "service", "fastapi")
    _become(*SERVICE, "--host", host, "--port", str(port), *([] if fd is None else ["--fd", str(fd)]))


def _checked(read: Callable[[str], object]) -> Callable[[str], str]:
    """Return a parser for typer that checks the text, and returns it as it is."""

    def parser(text: str) -> str:
        try:
            read(text)
        except ArgumentTypeError as error:
            raise typer.BadParameter(str(error)) from error
        return text

    return parser


def _typer_field(option: WorkerOption, panel: str) -> tuple[str, Any, None]:
    """Return the field of a dataclass from which `command` makes this option."""
    parser = _checked(option.read) if option.read is not None else None
    shown = typer.Option(
        option.flag, parser=parser, metavar=option.metavar, help=option.help, show_default=False, rich_help_panel=panel
    )
    return option.name, Annotated[bool | None if parser is None else str | None, shown], None


def work(options: Any) -> None:
    """Run only workers, on this machine or on a Ray cluster.

    On this machine they run in this process and its children.
    """
    require_program("workers", "worker", "torch")
    if options.ray is not None:
        require("ray", "ray")
    words: list[str] = []
    for option in (*WORKER_OPTIONS, *FLEET_OPTIONS):
        if (given := getattr(options, option.name)) is not None:
            words += [option.flag] if option.read is None else [option.flag, given]
    _become(*WORKERS, *words)


work.__annotations__["options"] = make_dataclass(
    "WorkOptions",
    [
        *(_typer_field(option, "Options") for option in WORKER_OPTIONS),
        *(_typer_field(option, "Fleet: workers on a Ray cluster instead of this machine") for option in FLEET_OPTIONS),
    ],
)


def _become(*command: str) -> None:
    os.execv(command[0], command)  # noqa: S606 - our own modules
