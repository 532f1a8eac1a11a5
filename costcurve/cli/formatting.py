"""Text for people about jobs and sweeps: tables, rows and sentences."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.cells import cell_len
from rich.table import Table

from costcurve.client.sweep_types import (
    Sweep,
    SweepPreset,
)
from costcurve.client.types import (
    Job,
    Preset,
)
from costcurve.core.losses import LOSSES
from costcurve.core.metrics import is_shown_in_percent
from costcurve.core.schedule import MAX_CHANGES, schedule_text

_WIDE = 130
_LONGEST_LOSS = max(map(len, LOSSES))


def figure(name: str, value: object, *, digits: int = 6) -> str:
    """Return a value as text: a share in percent, others rounded.

    Args:
        name: name of the metric or result, such as `final_accuracy`.
        value: any value of a result; only floats are rounded.
        digits: significant digits of a float that is not a share. Shares have two decimals.
    """
    if isinstance(value, float):
        return f"{100 * value:.2f} %" if is_shown_in_percent(name) else f"{value:.{digits}g}"
    return str(value)


def duration(seconds: float) -> str:
    """Return a duration as short text: `9.5 s`, `1:05` or `1:01:05`."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def outcome(job: Job) -> str:
    """Return one line with a job's status, and its result or error."""
    match job:
        case Job(error=error) if error is not None:
            return f"{job.status} ({error.code}): {error.message}"
        case Job(result=result) if result is not None:
            return f"{job.status}: {_result_line(result)}"
    return job.status if job.status_reason is None else f"{job.status}: {job.status_reason}"


def _result_line(result: Mapping[str, Any]) -> str:
    parts = []
    if "final_correct" in result:
        size = result.get("test_size", "?")
        parts.append(f"{result['final_correct']} / {size} right at the end")
        if "best_correct" in result:
            parts.append(f"best {result['best_correct']} / {size} after epoch {result.get('best_epoch', '?')}")
    parts += [
        f"{label} {figure(key, result[key])}"
        for label, key in (("output", "final_output"), ("cost", "final_cost"))
        if key in result
    ]
    if isinstance(result.get("train_seconds"), int | float):
        parts.append(f"in {duration(result['train_seconds'])}")
    return ", ".join(parts)


def standing(sweep: Sweep) -> str:
    """Return one line that counts a sweep's jobs in each status."""
    counted = ", ".join(f"{count:,} {status}" for status, count in sweep.counts.items() if count)
    return f"{sweep.ended:,} of {sweep.total:,} ended: {counted}"


def grid_text(sweep: Sweep) -> str:
    """Return a sweep's cells as short text: `3 learning_rate × 5 repeats`."""
    cells = " × ".join(f"{len(values):,} {name}" for name, values in sweep.grid.items())
    if sweep.variants:
        cells = f"({cells} + {len(sweep.variants)} variants)" if cells else f"{len(sweep.variants)} variants"
    factors = [cells] if cells else []
    if sweep.repeats > 1 or not factors:
        factors.append(f"{sweep.repeats:,} repeats")
    return " × ".join(factors)


def fields_text(fields: Mapping[str, Any]) -> str:
    """Return fields of a spec as short text: `loss cross_entropy, learning_rate 3`."""
    return ", ".join(f"{name} {value_text(name, value)}" for name, value in fields.items())


def init_text(init: Any) -> str:
    """Return an init as short text: its scheme and its non-zero figures."""
    if not isinstance(init, Mapping):
        return str(init)
    figures = ", ".join(f"{key} {_compact(value)}" for key, value in init.items() if key != "scheme" and value != 0)
    return f"{init.get('scheme')} ({figures})" if figures else f"{init.get('scheme')}"


def details(job: Job) -> Table:
    """Return a table of all facts about a job, without its curve."""
    return _labelled(_rows(job))


def sweep_details(sweep: Sweep) -> Table:
    """Return a table of all facts about a sweep, without its leaderboard."""
    return _labelled(_sweep_rows(sweep))


def _labelled(rows: Iterator[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for label, text in rows:
        table.add_row(label, text)
    return table


def _sweep_rows(sweep: Sweep) -> Iterator[tuple[str, str]]:
    yield "id", sweep.id
    yield "jobs", standing(sweep)
    if sweep.name is not None:
        yield "name", sweep.name
    if sweep.tags:
        yield "tags", _pairs(sweep.tags)
    if sweep.preset is not None:
        yield "preset", sweep.preset
    for key, value in sweep.spec.items():
        yield key, value_text(key, value)
    for key, values in sweep.grid.items():
        yield f"{key} (swept)", "; ".join(value_text(key, value) for value in values)
    for number, variant in enumerate(sweep.variants):
        yield f"variant {number}", fields_text(variant) or "as it is"
    if sweep.trial is not None:
        yield "trial of", " ".join(filter(None, [sweep.trial.job_id, sweep.trial.finding]))
    if sweep.verdict is not None:
        yield "verdict", sweep.verdict.statement
    yield "cells", f"{sweep.cells:,}, each {sweep.repeats:,} times" if sweep.repeats > 1 else f"{sweep.cells:,}"
    yield "created", local_time(sweep.created_at)


def value_text(key: str, value: object) -> str:
    """Return a spec's value as short text; empty for None."""
    if value is None:
        return ""
    if key == "schedule":
        return _schedule_text(value)
    return init_text(value) if key == "init" else _compact(value, key)


def _schedule_text(schedule: object) -> str:
    """Return a schedule as short text; one of an unknown shape as it is."""
    if isinstance(schedule, list) and all(isinstance(change, dict) for change in schedule):
        return schedule_text(schedule, most=MAX_CHANGES)
    return _compact(schedule)


def _pairs(tags: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in tags.items())


def _rows(job: Job) -> Iterator[tuple[str, str]]:
    yield "id", job.id
    yield "status", outcome(job)
    if job.name is not None:
        yield "name", job.name
    if job.tags:
        yield "tags", _pairs(job.tags)
    if job.parent_id is not None:
        yield "parent" if job.sweep_id is None else "retry of", job.parent_id
    if job.sweep_id is not None:
        yield "sweep", f"{job.sweep_id}, cell {job.cell}, repeat {job.repeat}"
    if job.pinned:
        yield "pinned", "kept after its retention time"
    for key, value in job.spec.items():
        if value not in (None, []):
            yield key, value_text(key, value)
    if job.queue_position is not None:
        yield "place in the queue", f"{job.queue_position:,}"
    progress = job.progress
    yield "progress", f"epoch {progress.epoch} of {progress.epochs}, step {progress.step:,} of {progress.steps:,}"
    if progress.eta_seconds is not None and not job.is_terminal:
        yield "time left", duration(progress.eta_seconds)
    yield "runs on", f"{job.device}, engine {job.engine}, attempt {job.attempt}, priority {job.priority}"
    if job.exec_profile is not None:
        yield "computed by", computed_by(job.exec_profile)
    for label, moment in (("created", job.created_at), ("started", job.started_at), ("finished", job.finished_at)):
        if moment is not None:
            yield label, local_time(moment)
    for key, value in (job.result or {}).items():
        if key not in job.spec:
            yield key, figure(key, value)


def computed_by(profile: Mapping[str, Any]) -> str:
    """Return an execution profile, which decides a training's last bits, as text.

    A profile of an unknown shape comes from a newer service, and is shown as it is.
    """
    try:
        threads = "one thread" if profile["threads"] == 1 else f"{profile['threads']} threads"
        versions = ", ".join(f"{name} {version}" for name, version in profile["versions"].items())
        return f"{profile['device']} with {profile['instruction_set']}, {threads}; {versions}"
    except (KeyError, AttributeError):
        return _compact(profile)


def table_of(jobs: Sequence[Job], *, width: int) -> Table:
    """Return a table of jobs, with more columns on a wide terminal."""
    columns: list[tuple[str, bool, Callable[[Job], str]]] = [
        ("ID", True, lambda job: job.id),
        ("STATUS", True, lambda job: job.status),
        ("TRAINS", False, lambda job: f"{job.spec.get('experiment')} {job.spec.get('loss')}"),
        ("DONE", True, lambda job: f"{100 * job.progress.fraction:.0f} %"),
        ("RESULT", True, short_result),
    ]
    if any(job.name for job in jobs):
        columns.append(("NAME", False, lambda job: job.name or ""))
    if width >= _WIDE:
        columns.append(("INIT", False, lambda job: init_text(job.spec.get("init"))))
        columns.append(("CREATED", True, lambda job: local_time(job.created_at)))
    table = Table(box=None, pad_edge=False)
    for header, no_wrap, _ in columns:
        table.add_column(header, no_wrap=no_wrap, min_width=_LONGEST_LOSS if header == "TRAINS" else None)
    for job in jobs:
        table.add_row(*(text(job) for _, _, text in columns))
    return table


def table_of_sweeps(sweeps: Sequence[Sweep]) -> Table:
    """Return a table of sweeps, with one row for each sweep."""
    table = Table("ID", "CREATED", "SWEEPS", "JOBS", "NAME", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for sweep in sweeps:
        cells = (sweep.id, local_time(sweep.created_at), grid_text(sweep), standing(sweep), sweep.name or "")
        table.add_row(*cells)
    return table


def short_result(job: Job) -> str:
    """Return a job's final accuracy or output, or its error code.

    The text is empty before the job has ended.
    """
    if job.error is not None:
        return job.error.code
    for key in ("final_accuracy", "final_output"):
        if job.result is not None and key in job.result:
            return f"{key.removeprefix('final_')} {figure(key, job.result[key], digits=4)}"
    return ""


def _compact(value: object, key: str = "") -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_compact(each)}" for key, each in value.items())
    if isinstance(value, list):
        # Layer sizes are written 784-30-10 everywhere; other numbers with hyphens would look like a range.
        return ("-" if key == "layers" else ", ").join(_compact(each) for each in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def local_time(moment: datetime) -> str:
    """Return the time as text in this machine's time zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def table_of_presets(presets: Sequence[Preset] | Sequence[SweepPreset]) -> Table:
    """Return a table of presets: the name and description of each."""
    table = Table("NAME", "WHAT IT SHOWS", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for preset in presets:
        table.add_row(preset.name, preset.description)
    return table


def padded(text: str, width: int) -> str:
    """Return the text, padded with spaces to `width` columns of a terminal."""
    return text + " " * (width - cell_len(text))
