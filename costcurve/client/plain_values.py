"""Conversion of arrays, scalars and tensors of any library to JSON values."""

import math
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from pydantic import BaseModel

_DEEPEST = 100


def plain(value: object, name: str, *, depth: int = 0) -> Any:
    """Return the value as JSON types: None, bool, number, text, list, dict.

    Arrays, scalars and tensors are recognised by their method `tolist`, as in numpy and torch.

    Args:
        value: the argument, or a part of it.
        name: path of the value, such as `spec.init`, for the error.
        depth: number of lists and mappings around the value.

    Raises:
        TypeError: JSON has no such type.
        ValueError: a number is not finite, or the value is nested more than 100 levels deep.
    """
    if depth > _DEEPEST:
        raise ValueError(f"{name} is nested deeper than {_DEEPEST} levels")
    match value:
        case None | bool():
            return value
        case Enum():
            return plain(value.value, name, depth=depth + 1)
        case str():
            return str(value)
        case int():
            return int(value)
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{name} is {value}, which JSON does not have; it must be a finite number")
            return float(value)
        case BaseModel():
            return value.model_dump(mode="json")
        case Mapping():
            return {_key(key, name): plain(each, f"{name}.{key}", depth=depth + 1) for key, each in value.items()}
        case bytes() | bytearray() | memoryview():
            pass
        case _ if callable(convert := getattr(value, "tolist", None)):
            return plain(convert(), name, depth=depth + 1)
        case Iterable():
            values = list(value)
            if are_numbers(values):  # fast path: 1,000 images have 784,000 numbers
                return values
            return [plain(each, f"{name}[{index}]", depth=depth + 1) for index, each in enumerate(values)]
    raise TypeError(
        f"{name} is of type {type(value).__name__}; it must be a number, text, or a list or mapping of them"
    )


def are_numbers(values: list[Any]) -> bool:
    """Return True if all values are plain ints or finite floats.

    Booleans and subclasses of int and float do not count.
    """
    kinds = set(map(type, values))
    return kinds <= {int} or (kinds <= {int, float} and all(map(math.isfinite, values)))


def _key(key: object, name: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{name} has the key {key!r}; a key must be text")
    return str(key)
