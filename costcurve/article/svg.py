"""SVG documents, changed so that several fit into one HTML page."""

import re
from xml.etree import ElementTree as ET

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_HREFS = ("href", f"{{{_XLINK}}}href")

ET.register_namespace("", _SVG)
ET.register_namespace("xlink", _XLINK)


def inlined(svg: bytes, *, name: str, label: str) -> str:
    """Return the picture as an element of an HTML page.

    Args:
        svg: an SVG document.
        name: prefix of every id, so that ids are unique in a page.
        label: description for screen readers.

    Raises:
        ParseError: `svg` is not well-formed XML.
    """
    root = ET.fromstring(svg)  # noqa: S314 - the service's answer, which draws it itself
    for metadata in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(metadata)
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "id":
                element.set(key, f"{name}-{value}")
            elif key in _HREFS and value.startswith("#"):
                element.set(key, f"#{name}-{value[1:]}")
            else:
                element.set(key, re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", value))
    for size in ("width", "height"):  # the page sets the width; the viewBox keeps the shape
        root.attrib.pop(size, None)
    root.set("role", "img")
    root.set("aria-label", label)
    return ET.tostring(root, encoding="unicode")
