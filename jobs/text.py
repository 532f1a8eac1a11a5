"""Text that every format of CostCurve can carry, and text that a terminal or a log line can show.

Storable: JSON, both databases, CSV and XML 1.0 (SVG) take it as it is. Printable: no character of it moves the cursor,
changes a colour, breaks the line, or reorders what stands around it.
"""

import re

# Controls (C0, DEL, C1), lone surrogates, and the two characters of the basic plane that XML 1.0 excludes.
_UNSTORABLE = re.compile("[\\u0000-\\u001f\\u007f-\\u009f\\ud800-\\udfff\\ufffe\\uffff]")
# For JSON Schema, in whose strings no surrogate can stand.
STORABLE_PATTERN = r"^[^\u0000-\u001f\u007f-\u009f\ufffe\uffff]*$"
# Format characters by which letters and emoji are joined: harmless, and text is wrong without them.
_JOINERS = frozenset("\u200c\u200d")


def why_unstorable(text: str) -> str | None:
    """Return what the text must not contain; None if it can be stored."""
    found = _UNSTORABLE.search(text)
    if found is None:
        return None
    character = found.group()
    if "\ud800" <= character <= "\udfff":
        return "must not contain lone surrogates"
    if character >= "\ufffe":
        return f"must not contain U+{ord(character):04X}, which is no character"
    return "must not contain control characters"


def storable(text: str) -> str:
    """Return the text with U+FFFD in place of each character that cannot be stored."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def printable(text: str, *, keep: str = "") -> str:
    r"""Return the text with an escape (`\x1b`, `\u202e`) in place of each character that cannot be printed.

    Args:
        text: any text.
        keep: characters that stay although they are not printable, such as a newline.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in _JOINERS or character in keep else _escape(character)
        for character in text
    )


def shortened(text: str, length: int) -> str:
    """Return the text, cut to `length` characters with an ellipsis if it is longer."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
