"""Checks and escapes for text that is stored or printed.

Storable: JSON, both databases, CSV and XML 1.0 (SVG) take the text unchanged.
Printable: no character moves the cursor, changes a colour, breaks the line, hides, or reorders the text around it.
"""

import re
import unicodedata

# Controls (C0, DEL, C1), lone surrogates, and the two characters of the basic plane that XML 1.0 excludes.
_UNSTORABLE = re.compile("[\\u0000-\\u001f\\u007f-\\u009f\\ud800-\\udfff\\ufffe\\uffff]")
# For JSON Schema, whose strings cannot contain surrogates.
STORABLE_PATTERN = r"^[^\u0000-\u001f\u007f-\u009f\ufffe\uffff]*$"
# Format characters that join letters of certain scripts, and emoji. Without them the text is wrong.
_JOINERS = frozenset("\u200c\u200d")
# Invisible letters, which may hide in a name: fillers of Hangul and Khmer, and selectors of Mongolian.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0")
_MOST_MARKS = 4
_SUSPECT = re.compile(r"[^\x20-\x7e]+")


def why_unstorable(text: str) -> str | None:
    """Return why the text cannot be stored; None if it can."""
    found = _UNSTORABLE.search(text)
    if found is None:
        return None
    character = found.group()
    if "\ud800" <= character <= "\udfff":
        return "must not contain lone surrogates"
    if character >= "\ufffe":
        return f"must not contain U+{ord(character):04X}, which is not a character"
    return "must not contain control characters"


def storable(text: str) -> str:
    """Return the text with U+FFFD for each character that cannot be stored."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def printable(text: str, *, keep: str = "") -> str:
    r"""Return the text with escapes for unsafe or hidden characters.

    An escape is `\x1b` or `\u202e`, for instance. Characters that a terminal obeys or hides are escaped: controls,
    signs that turn the direction of writing, and invisible characters. So are combining marks without a letter, and
    those beyond 4 on one letter.

    Args:
        text: any text.
        keep: characters to keep although they are not printable, such as a newline.
    """
    return _SUSPECT.sub(lambda found: _escaped(found, keep), text)


def shows(sign: str) -> bool:
    """Return True if a terminal shows this character as it is."""
    return (sign.isprintable() and sign not in _INVISIBLE) or unicodedata.category(sign) == "Zs"


def shortened(text: str, length: int) -> str:
    """Return the text, cut to `length` characters with an ellipsis if longer."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _escaped(found: re.Match[str], keep: str) -> str:
    run, before = found.group(), found.string[found.start() - 1] if found.start() else ""
    marks = 0 if before and before != " " else _MOST_MARKS
    parts = []
    for i, sign in enumerate(run):
        if sign in keep:
            parts.append(sign)
            marks = _MOST_MARKS
        elif _is_mark(sign):
            marks += 1
            parts.append(sign if marks <= _MOST_MARKS else _escape(sign))
        elif shows(sign) or (sign in _JOINERS and _joins(run[max(i - 1, 0) : i], run[i + 1 : i + 2])):
            parts.append(sign)
            marks = 0
        else:
            parts.append(_escape(sign))
            marks = 0
    return "".join(parts)


def _is_mark(sign: str) -> bool:
    return sign not in _INVISIBLE and unicodedata.category(sign) in {"Mn", "Me"}


def _joins(before: str, after: str) -> bool:
    """Return True if both signs are visible and neither is ASCII.

    Between Latin letters a joiner is only a hidden character.
    """
    return bool(before) and bool(after) and all(shows(sign) or _is_mark(sign) for sign in before + after)


def _escape(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")
