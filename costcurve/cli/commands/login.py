"""`login`, `logout` and `me`: the key that the command line sends to a service."""

import getpass
import sys

import typer

from costcurve.cli.command import ServiceOptions
from costcurve.cli.output import tell, write_json, write_line
from costcurve.client.access_types import Caller
from costcurve.client.address import Address
from costcurve.client.api_key import VARIABLE, ApiKey, remove_stored
from costcurve.client.client import Client
from costcurve.client.errors import CostCurveError


def login(service: ServiceOptions) -> None:
    """Store a key for a service, after it was tried there.

    The key is asked for on a terminal, or read from standard input. It is stored in a file that only you can read, and
    sent to this address alone.
    """
    try:
        key = ApiKey(_asked())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    url = _address(service).url
    try:
        client = Client(service.url, api_key=key)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--url") from error
    with client:
        caller = client.me()
    if caller.key_id is None:
        raise CostCurveError(f"the service at {client.remote.url} requires no key; nothing was stored")
    file = key.store(url)
    if service.as_json:
        write_json(caller)
    else:
        _write(caller)
        tell(f"the key is stored in {file}; {VARIABLE} overrides it")


def logout(service: ServiceOptions) -> None:
    """Remove the stored key of a service from this machine. It stays valid: revoke it to end that."""
    address = _address(service)
    was_there = remove_stored(address.url)
    if service.as_json:
        write_json({"removed": was_there})
    else:
        tell("the key was removed" if was_there else f"no key is stored for {address.shown}")


def me(service: ServiceOptions) -> None:
    """Print the project, the name and the scopes of the key in use."""
    with service.client() as client:
        caller = client.me()
    if service.as_json:
        write_json(caller)
    else:
        _write(caller)


def _asked() -> str:
    if sys.stdin.isatty():
        return getpass.getpass("key: ", stream=sys.stderr).strip()
    return sys.stdin.readline().strip()


def _address(service: ServiceOptions) -> Address:
    try:
        return Address.found(service.url)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--url") from error


def _write(caller: Caller) -> None:
    write_line(f"project {caller.project}, key {caller.key_name}, scopes {', '.join(caller.scopes)}")
