"""Text for a terminal: what cannot be printed is escaped where it can be seen, and width is counted in columns."""

import re
import unicodedata

from rich.cells import cell_len

# Letters that show nothing, and so may hide in a name: fillers of Hangul and Khmer, and selectors of Mongolian.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0")
_MOST_MARKS = 4
_SUSPECT = re.compile(r"[^\x20-\x7e]+")


def printable(text: str, *, keep: str = "") -> str:
    """Return the text with every character escaped that a terminal obeys or does not show.

    Those are controls, signs that turn the direction of writing, invisible ones, and combining marks that have no
    letter or are heaped upon one. Characters in `keep`, such as a line's end, stay.
    """
    return _SUSPECT.sub(lambda found: _escaped(found, keep), text)


def padded(text: str, width: int) -> str:
    """Return the text with spaces behind it, up to this many columns of a terminal."""
    return text + " " * (width - cell_len(text))


def _escaped(found: re.Match[str], keep: str) -> str:
    before = found.string[found.start() - 1] if found.start() else ""
    marks = 0 if before and before != " " else _MOST_MARKS
    parts = []
    for sign in found.group():
        if sign in keep:
            parts.append(sign)
            marks = _MOST_MARKS
        elif _is_mark(sign):
            marks += 1
            parts.append(sign if marks <= _MOST_MARKS else _escape(sign))
        elif shows(sign):
            parts.append(sign)
            marks = 0
        else:
            parts.append(_escape(sign))
            marks = 0
    return "".join(parts)


def _is_mark(sign: str) -> bool:
    return sign not in _INVISIBLE and unicodedata.category(sign) in {"Mn", "Me"}


def shows(sign: str) -> bool:
    """Return True if a terminal shows this character as it is."""
    return (sign.isprintable() and sign not in _INVISIBLE) or unicodedata.category(sign) == "Zs"


def _escape(sign: str) -> str:
    number = ord(sign)
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
