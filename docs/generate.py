"""Program that puts generated parts into the documents: `make docs`."""

import re
from pathlib import Path

from costcurve.core.status import diagram

ARCHITECTURE = Path(__file__).parent / "architecture.md"


def generated(text: str) -> str:
    """Return the text of architecture.md with the diagram of the current transition table."""
    block = f"<!-- lifecycle -->\n```mermaid\n{diagram()}\n```\n"
    return re.sub(r"<!-- lifecycle -->\n```mermaid\n.*?\n```\n", lambda _: block, text, flags=re.DOTALL)


if __name__ == "__main__":
    ARCHITECTURE.write_text(generated(ARCHITECTURE.read_text()))
