"""Strict validation with a JSON pointer (RFC 6901) per invalid field.

Each invalid field also has one sentence.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from costcurve.core.text import STORABLE_PATTERN, why_unstorable

# pydantic adds the chosen member of a union to an error's location, after the field. The client did not send it.
_UNION_FIELDS = frozenset({"spec", "init", "std"})
_UNION_MEMBERS = frozenset(
    {"neuron", "mnist", "normal", "scaled_normal", "xavier", "constant", "zeros", "number", "per_layer"}
)


T = TypeVar("T")


class StrictModel(BaseModel):
    """Base of value objects that clients send.

    They allow no coercion, no unknown field and no NaN, and are immutable.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class FieldError:
    """One invalid field: its pointer, and what is wrong with it.

    The pointer is `/spec/epochs`, for instance; "" is the whole document.
    """

    pointer: str
    message: str


def bad_value(message: str, *, at: str | None = None) -> PydanticCustomError:
    """Return an error for a validator to raise.

    `at` names the wrong part of the field, if only a part is wrong.
    """
    return PydanticCustomError("bad_value", "{message}", {"message": message, "at": at})


@dataclass(frozen=True, slots=True)
class NameIn:
    """Constraint of a text field to the names in a table.

    `names` returns them at each check, so that a name added to the table is valid at once.
    """

    names: Callable[[], Collection[str]]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._known, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "enum": list(self.names())}

    def _known(self, given: Any) -> Any:
        if given not in tuple(self.names()):  # a tuple: a client may send what has no hash
            *most, last = map(repr, self.names())
            raise bad_value("Input should be " + " or ".join(filter(None, (", ".join(most), last))))
        return given


def entry_named(table: Mapping[str, T], name: str, kind: str) -> T:
    """Return the table's entry of this name.

    `kind` is the singular of the entries, such as "loss". Raises ValueError, with all known names, if there is none.
    """
    if name not in table:
        raise ValueError(f"there is no {kind} {name!r}; there are {', '.join(table)}")
    return table[name]


def _no_negative_zero(value: float) -> float:
    return value + 0.0  # -0.0 equals 0.0, so both must have one canonical JSON


def _storable_text(value: str) -> str:
    if (message := why_unstorable(value)) is not None:
        raise bad_value(message)
    return value


Number = Annotated[float, AfterValidator(_no_negative_zero)]
Text = Annotated[str, AfterValidator(_storable_text), Field(json_schema_extra={"pattern": STORABLE_PATTERN})]


def json_pointer(location: Sequence[str | int]) -> str:
    """Return the JSON pointer (RFC 6901) of a pydantic error location.

    Union members are left out. So is FastAPI's leading "body": the pointer is into the body. A leading "query" or
    "path" is kept, followed by the parameter. The index of a query parameter's value is left out.
    """
    if location[:1] == ("query",):
        location = location[:2]
    parts: list[str] = []
    previous: str | int | None = None
    for part in location[1:] if location[:1] == ("body",) else location:
        if part != "[key]" and not (previous in _UNION_FIELDS and part in _UNION_MEMBERS):
            parts.append(str(part).replace("~", "~0").replace("/", "~1"))
        previous = part
    # A field name from a client may not be encodable.
    return "".join(f"/{part}" for part in parts).encode("utf-8", "backslashreplace").decode()


def field_errors(errors: Sequence[ErrorDetails]) -> tuple[FieldError, ...]:
    """Return one pointer and one sentence for each pydantic error.

    An error that only follows from another one is left out.
    """
    # With fail_fast pydantic stops at a tuple's first bad element, and reports the tuple as too short, too.
    above = {error["loc"][:length] for error in errors for length in range(len(error["loc"]))}
    return tuple(
        _field_error(error)
        for error in errors
        # A default that follows from an invalid field is not computed. That is no error of its own.
        if error["type"] != "default_factory_not_called"
        and not (error["type"] == "too_short" and error["loc"] in above)
    )


def _field_error(error: ErrorDetails) -> FieldError:
    context: dict[str, Any] = error.get("ctx", {})
    location: tuple[str | int, ...] = error["loc"]
    message = error["msg"]
    match error["type"]:
        case "bad_value" if context.get("at"):
            location = (*location, *context["at"].split("/"))
        case "union_tag_not_found":
            location = (*location, context["discriminator"].strip("'"))
            message = "required"
        case "union_tag_invalid":
            location = (*location, context["discriminator"].strip("'"))
            message = f"must be one of {context['expected_tags']}"
        case "model_type" | "model_attributes_type":
            message = "must be an object"
        case "too_short":
            message = f"must not be shorter than {context['min_length']}"
        case "too_long":
            message = f"must not be longer than {context['max_length']}"
        case "extra_forbidden":
            message = "unknown field"
        case "missing":
            message = "required"
    return FieldError(json_pointer(location), message)
