"""`up`, `serve` and `work`: the service and its workers on this machine."""

import os
import sys
from typing import Annotated

import typer

from costcurve.cli.command import JsonOption
from costcurve.cli.interrupt import Interruption
from costcurve.cli.local_service import SERVICE, WORKERS, LocalService, home_folder, require, require_program
from costcurve.cli.output import tell, write_json, write_line

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
        if not host.startswith(_LOOPBACK):
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


def work(
    processes: Annotated[
        int | None, typer.Option(min=1, help="Worker processes. Default: one for each device.", show_default=False)
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Run the workers on the Ray cluster with this head node.", show_default=False
        ),
    ] = None,
    min_workers: Annotated[
        int | None,
        typer.Option(min=0, help="With --ray: fewest workers, even without jobs. Default: 1.", show_default=False),
    ] = None,
    max_workers: Annotated[
        int | None,
        typer.Option(min=1, help="With --ray: most workers. Default: what the cluster has.", show_default=False),
    ] = None,
    cpus_per_worker: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="With --ray: CPUs of each worker, and no GPU. Default: one GPU each if there are any, else one CPU.",
            show_default=False,
        ),
    ] = None,
    idle_seconds: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="With --ray: seconds without a job until a worker is stopped. Default: 60.",
            show_default=False,
        ),
    ] = None,
    ray_without_token: Annotated[
        bool, typer.Option("--ray-without-token", help="Use a cluster that runs programs without a token.")
    ] = False,
) -> None:
    """Run only workers, on this machine or on a Ray cluster.

    On this machine they run in this process and its children.
    """
    require_program("workers", "worker", "torch")
    if ray is not None:
        require("ray", "ray")
    options = {
        "--processes": processes,
        "--ray": ray,
        "--min-workers": min_workers,
        "--max-workers": max_workers,
        "--cpus-per-worker": cpus_per_worker,
        "--idle-seconds": idle_seconds,
    }
    given = [word for name, value in options.items() if value is not None for word in (name, str(value))]
    _become(*WORKERS, *given, *(["--ray-without-token"] if ray_without_token else []))


def _become(*command: str) -> None:
    os.execv(command[0], command)  # noqa: S606 - our own modules
