"""The best cells of a sweep as a table."""

from collections.abc import Callable

from rich.table import Table

from costcurve.cli.formatting import figure, value_text
from costcurve.client.types import Cell, Sweep

# What is shown beside the figure by which cells are ranked.
_ALSO_SHOWN = ("final_accuracy", "final_output")


def leaderboard_of(sweep: Sweep) -> Table:
    """A row for each cell on the sweep's leaderboard: its rank, what it sets, and mean ± standard deviation."""
    ranked_by = sweep.ranking.figure if sweep.ranking is not None else ""
    shown = [ranked_by, *[name for name in _ALSO_SHOWN if any(name in cell.figures for cell in sweep.leaderboard)]]
    columns: list[tuple[str, Callable[[Cell], str]]] = [
        ("RANK", lambda cell: str(cell.rank)),
        ("CELL", lambda cell: str(cell.cell)),
        *((name.upper(), _setting(name)) for name in sweep.grid),
        ("DONE", lambda cell: f"{cell.counts.get('succeeded', 0)}/{sum(cell.counts.values())}"),
        *((name.upper().replace("_", " "), _figure(name)) for name in shown),
        ("FROM THE BEST", lambda cell: _difference(cell, ranked_by)),
    ]
    table = Table(*(header for header, _ in columns), box=None, pad_edge=False)
    for cell in sweep.leaderboard:
        table.add_row(*(text(cell) for _, text in columns))
    return table


def plus_minus(name: str, mean: float, deviation: float | None) -> str:
    """A mean and what it may be off by, if that is known: `95.20 ± 0.12 %`."""
    text = figure(name, mean, digits=4)
    if deviation is None:
        return text
    number, space, unit = text.partition(" ")
    return f"{number} ± {figure(name, deviation, digits=2).partition(' ')[0]}{space}{unit}"


def _setting(name: str) -> Callable[[Cell], str]:
    return lambda cell: value_text(name, cell.settings.get(name))


def _figure(name: str) -> Callable[[Cell], str]:
    def text(cell: Cell) -> str:
        spread = cell.figures.get(name)
        return "" if spread is None else plus_minus(name, spread.mean, spread.stdev)

    return text


def _difference(cell: Cell, figure_name: str) -> str:
    if cell.difference is None or cell.difference.to_cell == cell.cell:
        return ""
    return plus_minus(figure_name, cell.difference.mean, cell.difference.standard_error)
