"""Fonts of plots, width of text in columns, and text for SVG.

Matplotlib's own font has no East Asian letters and few emoji. A font of this machine draws them, if it has one.
Otherwise an SVG keeps its text as text, for the fonts of the viewer. A PNG shows a box for each letter.
"""

import textwrap
import unicodedata
from functools import cache
from typing import Any, Literal

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager, get_font
from matplotlib.text import Text

from costcurve.core.text import storable

_OWN = "DejaVu Sans"
# Included in matplotlib: it draws each letter as a box that shows its script.
_LAST_RESORT = "Last Resort High-Efficiency"
# Fonts with Chinese, Japanese or Korean letters, or symbols, by their names on Debian, macOS and Windows.
_WIDE = (
    *(
        "Noto Sans CJK JP",
        "Noto Sans CJK SC",
        "Noto Sans CJK KR",
        "Source Han Sans",
        "WenQuanYi Zen Hei",
        "IPAexGothic",
    ),
    *("Droid Sans Fallback", "Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo", "Yu Gothic", "Microsoft YaHei"),
    *("Malgun Gothic", "Unifont", "Noto Emoji", "Symbola", "Segoe UI Symbol"),
)
_FILLER = "\ufdd0"  # a noncharacter, never part of a text


@cache
def fonts() -> dict[Any, Any]:
    """Return matplotlib's font settings: the first font that has a letter draws it."""
    return {"font.family": ["sans-serif", _LAST_RESORT], "font.sans-serif": _with_letters()}


def lettering(figure: Figure, file_format: Literal["svg", "png"]) -> dict[Any, Any]:
    """Make all texts of the figure valid in XML; return the settings for saving."""
    texts = [found for found in figure.findobj(Text) if isinstance(found, Text)]
    for text in texts:
        text.set_text("\n".join(map(storable, text.get_text().split("\n"))))
    lacks = any(not _drawable() >= set(text.get_text()) for text in texts)
    return {"svg.fonttype": "none"} if lacks and file_format == "svg" else {}


def wrapped(text: str, columns: int) -> list[str]:
    """Return the text in lines of at most `columns` columns.

    An East Asian letter takes two columns.
    """
    return [line.replace(_FILLER, "") for line in textwrap.wrap(_spread(text), columns)]


def cut(text: str, columns: int) -> str:
    """Return the text on one line of at most `columns` columns.

    An ellipsis replaces the part that does not fit.
    """
    if width(text) <= columns:
        return text
    [line, *_] = wrapped(text, columns - 2)
    return f"{line} …"


def width(text: str) -> int:
    """Return the number of columns that the text takes."""
    return len(_spread(text))


@cache
def _drawable() -> frozenset[str]:
    found = [get_font(fontManager.findfont(FontProperties(family=name))) for name in _with_letters()]
    return frozenset("\n").union(*(map(chr, font.get_charmap()) for font in found))


def _with_letters() -> list[str]:
    installed = set(fontManager.get_font_names())
    return [_OWN, *(name for name in _WIDE if name in installed)]


def _spread(text: str) -> str:
    """Return a text with one character for each column of the text."""
    return "".join(character + _FILLER * (unicodedata.east_asian_width(character) in "WF") for character in text)
