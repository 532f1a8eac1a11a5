"""The Accept header: media types that a client accepts or refuses."""

from collections.abc import Iterable, Iterator, Sequence

EVENT_STREAM = "text/event-stream"


def quality(accept: Sequence[str], media_type: str) -> float | None:
    """Return the weight of a media type, 0 to 1.

    The most specific range that covers it decides. Return None if no range covers it.

    Args:
        accept: the lines of the Accept header.
        media_type: such as `application/json`, without parameters.
    """
    whole, of_type = media_type.lower(), media_type.lower().partition("/")[0] + "/*"
    found: dict[str, float] = {}
    for media_range, weight in _ranges(accept):
        found[media_range] = max(weight, found.get(media_range, 0.0))
    return next((found[each] for each in (whole, of_type, "*/*") if each in found), None)


def is_acceptable(accept: Sequence[str], media_types: Iterable[str]) -> bool:
    """Return True unless the client refuses all of these media types.

    Also return False if it asks for an event stream and for none of them.
    """
    weights = [quality(accept, each) for each in media_types]
    if any(weight is None or weight > 0 for weight in weights):
        named = any(weight for weight in weights)
        return named or not quality(accept, EVENT_STREAM)
    return not weights


def without_refused(accept: Sequence[str]) -> str:
    """Return an Accept header without the ranges of weight 0.

    It is for libraries that read no weights.
    """
    return ", ".join(each for line in accept for each in line.split(",") if _weight(each.split(";")[1:]) > 0)


def _ranges(accept: Sequence[str]) -> Iterator[tuple[str, float]]:
    for line in accept:
        for each in line.split(","):
            media_range, *parameters = each.split(";")
            yield media_range.strip().lower(), _weight(parameters)


def _weight(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:  # RFC 9110 does not define the meaning of an invalid weight
                return 1.0
    return 1.0
