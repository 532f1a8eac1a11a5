"""Commands made from functions, with shared options and exit codes for errors."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from costcurve.cli.exit_codes import ExitCode, exit_code_of
from costcurve.cli.output import tell, tell_error
from costcurve.cli.streams import OutputFailed
from costcurve.client.client import Client
from costcurve.client.errors import CostCurveError
from costcurve.core.text import printable

JsonOption = Annotated[bool, typer.Option("--json", help="Print only JSON on standard output.")]


@dataclass(frozen=True, kw_only=True)
class ServiceOptions:
    """Options that every command with requests to a service has."""

    url: Annotated[
        str | None,
        typer.Option(help="The service's address.", metavar="URL", show_default=False, rich_help_panel="Service"),
    ] = None
    as_json: JsonOption = False

    def client(self) -> Client:
        """Return a client of that service. Raises typer.BadParameter."""
        try:
            return Client(self.url)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--url") from error


class OneValue(TyperCommand):
    """A command that refuses a repeated option unless it takes several values."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        refuse_repeats(self, ctx, args)
        return super().parse_args(ctx, args)


class OneValueGroup(TyperGroup):
    """A group of commands that refuses repeated options of its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        refuse_repeats(self, ctx, args)
        return super().parse_args(ctx, args)


def refuse_repeats(command: TyperCommand | TyperGroup, ctx: Any, args: list[str]) -> None:
    """Raise typer.BadParameter if an option that takes one value is repeated.

    A pair of flags, such as --pin and --unpin, counts as one option. A flag without a counterpart may be repeated.
    """
    _, _, order = command.make_parser(ctx).parse_args(args=list(args))
    given: set[Any] = set()
    for parameter in order:
        if not isinstance(parameter, TyperOption) or parameter.multiple:
            continue
        if parameter in given and (not parameter.is_flag or parameter.secondary_opts):
            raise typer.BadParameter("is given twice, but takes one value", ctx=ctx, param=parameter)
        given.add(parameter)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Return the function in the form that typer takes.

    Each field of a parameter whose type is a dataclass becomes an option. Expected errors end the command with a
    message and their exit code.
    """
    hints = get_type_hints(function, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if isinstance(hint, type) and is_dataclass(hint)}
    parameters = [inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    for parameter in inspect.signature(function).parameters.values():
        if (group := groups.get(parameter.name)) is None:
            kept = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[parameter.name])
            parameters.append(kept)
        else:
            parameters += _options_of(group)

    def run(ctx: typer.Context, **given: Any) -> None:
        as_json = given.get("as_json", False)
        if "url" in given:
            given["url"] = given["url"] or ctx.obj
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        try:
            function(**given)
            sys.stdout.flush()
        except typer.BadParameter as error:
            error.message = printable(error.message, keep="\n")
            raise
        except CostCurveError as error:
            tell_error(error, as_json=as_json)
            raise typer.Exit(exit_code_of(error)) from error
        except KeyboardInterrupt as interrupt:
            tell("interrupted")
            raise typer.Exit(ExitCode.INTERRUPTED) from interrupt
        except BrokenPipeError as error:
            raise typer.Exit(ExitCode.BROKEN_PIPE) from error
        except OutputFailed:
            raise  # Output.end prints the reason
        except OSError as error:
            where = "" if error.filename is None else f"{error.filename}: "
            tell_error(CostCurveError(f"{where}{error.strerror or error}"), as_json=as_json)
            raise typer.Exit(ExitCode.FAILED) from error

    run.__name__ = function.__name__
    run.__doc__ = function.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _options_of(group: type) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default if field.default_factory is MISSING else field.default_factory(),
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]
