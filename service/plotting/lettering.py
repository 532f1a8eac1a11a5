"""The letters of a picture: fonts that have them, their width in columns, and what an SVG can carry.

Matplotlib's own font has no East Asian letters and few emoji. They are drawn by a font of this machine, if it has one.
If not, an SVG carries its text as text, for the fonts of whoever looks at it, and a PNG shows a box for each letter.
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
# Matplotlib brings it: for each letter a box that shows of which script it is.
_LAST_RESORT = "Last Resort High-Efficiency"
# With letters of China, Japan, Korea, or symbols; as Debian, macOS and Windows call them.
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
_FILLER = "\ufdd0"  # no character, and never part of a text


@cache
def fonts() -> dict[Any, Any]:
    """Return the settings of the fonts to draw with: the first that has a letter is taken."""
    return {"font.family": ["sans-serif", _LAST_RESORT], "font.sans-serif": _with_letters()}


def lettering(figure: Figure, file_format: Literal["svg", "png"]) -> dict[Any, Any]:
    """Make every text of the figure one that an XML file can carry; return the settings to save it with."""
    texts = [found for found in figure.findobj(Text) if isinstance(found, Text)]
    for text in texts:
        text.set_text("\n".join(map(storable, text.get_text().split("\n"))))
    lacks = any(not _drawable() >= set(text.get_text()) for text in texts)
    return {"svg.fonttype": "none"} if lacks and file_format == "svg" else {}


def wrapped(text: str, columns: int) -> list[str]:
    """Return the text in lines of so many columns at most; an East Asian letter takes two."""
    return [line.replace(_FILLER, "") for line in textwrap.wrap(_spread(text), columns)]


def cut(text: str, columns: int) -> str:
    """Return the text on one line of so many columns at most; an ellipsis stands for what is left out."""
    if width(text) <= columns:
        return text
    [line, *_] = wrapped(text, columns - 2)
    return f"{line} …"


def width(text: str) -> int:
    """Return how many columns the text takes."""
    return len(_spread(text))


@cache
def _drawable() -> frozenset[str]:
    found = [get_font(fontManager.findfont(FontProperties(family=name))) for name in _with_letters()]
    return frozenset("\n").union(*(map(chr, font.get_charmap()) for font in found))


def _with_letters() -> list[str]:
    installed = set(fontManager.get_font_names())
    return [_OWN, *(name for name in _WIDE if name in installed)]


def _spread(text: str) -> str:
    """Return a text of as many characters as the text has columns."""
    return "".join(character + _FILLER * (unicodedata.east_asian_width(character) in "WF") for character in text)
