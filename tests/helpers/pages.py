"""HTML pages, looked at as a browser would, and the texts of plots."""

import re
from collections import Counter
from html.parser import HTMLParser

_VOID = {"meta", "br", "hr", "img", "link", "input"}


def texts(svg: str) -> list[str]:
    """Return the texts of a plot, from the top to the bottom."""
    return re.findall(r"<!-- (.*?) -->", svg)


class Parsed(HTMLParser):
    """Elements, ids, and whether every element that is opened is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def values(self, name: str) -> list[str]:
        return [value for each, value in self.attributes if each == name]


def needs_nothing_else(html: str) -> bool:
    """No address that is fetched, no script, no style from elsewhere; names of XML namespaces are no addresses."""
    without = re.sub(r'xmlns(:\w+)?="[^"]*"', "", html)
    return not re.search(r"https?:|//\w|<script|<link|<iframe|@import|src=", without)
