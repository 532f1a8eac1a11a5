"""Validation of client arguments, so that errors name the argument passed."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

from costcurve.client.plain_values import plain

_KEY = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")


def checked_key(key: str | None) -> str:
    """Return the idempotency key or a new one. Raises TypeError, ValueError."""
    if key is None:
        return uuid4().hex
    if not isinstance(key, str):
        raise TypeError(f"idempotency_key must be text, not {type(key).__name__}")
    if not _KEY.fullmatch(key):
        raise ValueError(
            f"idempotency_key is {key[:300]!r}; it must be 1 to 255 printable ASCII characters, "
            "and must not begin or end with a space"
        )
    return key


def checked_id(kind: str, own_id: object) -> str:
    """Return the id of a job or a sweep. Raises TypeError, ValueError."""
    if not isinstance(own_id, str):
        attribute = getattr(own_id, "id", None)
        hint = f"; its id is its attribute `id`: {attribute!r}" if isinstance(attribute, str) else ""
        raise TypeError(f"{kind}_id must be text, not {type(own_id).__name__}{hint}")
    if not own_id:  # an empty id would give the path of the whole collection
        raise ValueError(f"a {kind}'s id cannot be empty")
    return own_id


def checked_ids(job_ids: object) -> list[str]:
    """Return the ids of several jobs as a list. Raises TypeError, ValueError."""
    if isinstance(job_ids, str) or not isinstance(job_ids, Iterable):
        raise TypeError(f"job_ids must be a list of ids, such as ['job_1', 'job_2'], not {_kind(job_ids)}")
    return [checked_id("job", job_id) for job_id in job_ids]


def checked_seconds(seconds: object, name: str, *, positive: bool = False) -> float:
    """Return a duration in seconds, at least 0.

    With `positive`, 0 is refused too. Infinity is allowed. Raises TypeError, ValueError.
    """
    number = seconds if isinstance(seconds, float) and seconds == math.inf else plain(seconds, name)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise TypeError(f"{name} must be a number of seconds, not {_kind(seconds)}")
    if number < 0 or (positive and number == 0):
        raise ValueError(f"{name} is {number:g} seconds; it must be {'more than 0' if positive else '0 or more'}")
    return number


def tag_filters(tags: Mapping[str, str] | None) -> list[str]:
    """Return tag filters as query values of the form `key:value`. Raises TypeError."""
    if tags is None:
        return []
    if not isinstance(tags, Mapping):
        raise TypeError(f"tags must be a mapping such as {{'key': 'value'}}, not {_kind(tags)}")
    return [f"{key}:{value}" for key, value in tags.items()]


def swept_values(grid: Any) -> dict[str, list[Any]]:
    """Return the values of each swept field. Raises TypeError, ValueError."""
    if grid is None:
        return {}
    fields = plain(grid, "grid")
    if not isinstance(fields, dict):
        raise TypeError(f"grid must be a mapping such as {{'loss': ['quadratic', 'cross_entropy']}}, not {_kind(grid)}")
    for name, values in fields.items():
        if not isinstance(values, list):
            raise TypeError(f"grid.{name} must be a list of values, not {_kind(values)}")
    return fields


def metric_names(metrics: object) -> str | None:
    """Return metric names as one text, separated by commas. Raises TypeError."""
    if metrics is None or isinstance(metrics, str):
        return metrics
    if not isinstance(metrics, Iterable):
        raise TypeError(f"metrics must be a list of names, or text with commas between names, not {_kind(metrics)}")
    names = list(metrics)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"metrics contains {name!r}; each metric must be a name")
    return ",".join(names)


def spec_fields(spec: Any, name: str = "spec") -> Any:
    """Return the fields of a spec (a mapping or a model), given as the argument `name`.

    Raises TypeError, ValueError.
    """
    if isinstance(spec, str):
        raise TypeError(
            f"{name} is the text {spec!r}; it must be a mapping such as {{'experiment': 'neuron'}}. "
            f"A preset is given by name: preset={spec!r}"
        )
    fields = plain(spec, name)
    if not isinstance(fields, dict):
        raise TypeError(f"{name} must be a mapping such as {{'experiment': 'neuron'}}, not {_kind(spec)}")
    return fields


def _kind(value: object) -> str:
    return f"the text {value!r}" if isinstance(value, str) else type(value).__name__
