"""Program that puts generated parts into the documents: `make docs`."""

import re
from collections.abc import Iterator
from pathlib import Path

from costcurve.core.metrics import METRICS, Metric
from costcurve.core.status import diagram

ARCHITECTURE = Path(__file__).parent / "architecture.md"
EXPERIMENTS = Path(__file__).parent / "experiments.md"

_OWNERS = {
    "neuron": "a neuron",
    "network": "a network",
    "layer": "each layer l, as `{name}.l`",
    "hidden_layer": "each hidden layer l, as `{name}.l`",
    "loss": "each diagnosed loss, as `{name}.LOSS`",
    "output": "a network's output",
    "step": "a hundred steps of a network",
}


def metric_table() -> str:
    """Return the table of all metrics, in Markdown."""
    rows = ["| metric | label | unit | range | better | recorded for |", "|---|---|---|---|---|---|"]
    rows += [f"| `{name}` | {' | '.join(_cells(name, metric))} |" for name, metric in METRICS.items()]
    return "\n".join(rows)


def _cells(name: str, metric: Metric) -> Iterator[str]:
    yield metric.label.replace("\n", ": ").replace("|", r"\|")
    yield metric.unit or ""
    low, high = (None if bound is None else f"{metric.scale * bound:,g}" for bound in (metric.low, metric.high))
    yield "" if low is None else f"{low} … {high}" if high is not None else f"≥ {low}"
    yield metric.better or ""
    yield ", ".join(_OWNERS[owner].format(name=name) for owner in metric.owners)


def generated(text: str) -> str:
    """Return a document's text with its generated parts as the current code makes them."""
    parts = {"lifecycle": f"```mermaid\n{diagram()}\n```", "metrics": metric_table()}
    for name, part in parts.items():
        block = f"<!-- {name} -->\n{part}\n<!-- end -->"
        text = re.sub(rf"<!-- {name} -->\n.*?\n<!-- end -->", lambda _, block=block: block, text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    for document in (ARCHITECTURE, EXPERIMENTS):
        document.write_text(generated(document.read_text()))
