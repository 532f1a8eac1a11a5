"""Columns of a terminal: text is padded by the columns that it takes, not by its characters."""

from rich.cells import cell_len


def padded(text: str, width: int) -> str:
    """Return the text with spaces behind it, up to this many columns of a terminal."""
    return text + " " * (width - cell_len(text))
