"""Put into the documents what is generated from the code: `make docs`."""

import re
from pathlib import Path

from costcurve.core.status import diagram

ARCHITECTURE = Path(__file__).parent / "architecture.md"


def generated(text: str) -> str:
    """The text of architecture.md with the diagram of today's transition table."""
    block = f"<!-- lifecycle -->\n```mermaid\n{diagram()}\n```\n"
    return re.sub(r"<!-- lifecycle -->\n```mermaid\n.*?\n```\n", lambda _: block, text, flags=re.DOTALL)


if __name__ == "__main__":
    ARCHITECTURE.write_text(generated(ARCHITECTURE.read_text()))
