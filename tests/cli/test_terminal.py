"""Names and texts on a terminal: what it would obey is escaped, and columns are measured as it draws them."""

import io
import json
import unicodedata

import pytest
from rich.cells import cell_len
from rich.table import Table

from costcurve.cli.commands.diagnose import described
from costcurve.cli.formatting import details, padded, table_of, table_of_sweeps
from costcurve.cli.output import PlainConsole, tell, tell_error, write_json, write_line, write_rich
from costcurve.cli.progress import Bars, Lines
from costcurve.client.diagnosis import Diagnosis
from costcurve.client.errors import ApiError, BadField
from costcurve.core.text import printable
from tests.cli.test_formatting import a_job, a_sweep
from tests.helpers.scripted_server import JOB

EVIL = "\x1b[31ma\x9b2Jb\u202ec\u2066d\u200be\ufefff\x00g\x7fh\u3164i\nj\rk"
OBEYED = {"\x1b", "\x9b", "\u202e", "\u2066", "\u200b", "\ufeff", "\x00", "\x7f", "\u3164", "\r"}
ESCAPED = r"\x1b[31ma\x9b2Jb\u202ec\u2066d\u200be\ufefff\x00g\x7fh\u3164i\nj\rk"


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain [bold] σ′(z) ≥ 0", "plain [bold] σ′(z) ≥ 0"),
        ("日本語 한국어 ひらがな العربية עברית", "日本語 한국어 ひらがな العربية עברית"),
        ("e\u0301 и\u0306", "e\u0301 и\u0306"),
        ("a\u0301\u0301\u0301\u0301\u0301\u0301", "a\u0301\u0301\u0301\u0301\\u0301\\u0301"),
        ("\u0301a", "\\u0301a"),
        (" \u0301", " \\u0301"),
        ("❤\ufe0f", "❤\ufe0f"),
        ("no\u00a0break", "no\u00a0break"),
        (EVIL, ESCAPED),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("\ue000\u2028\u2029\u061c\u00ad", "\\ue000\\u2028\\u2029\\u061c\\xad"),
        ("", ""),
    ],
)
def test_what_a_terminal_would_obey_or_hide_is_escaped_where_it_stands(text, shown):
    assert printable(text) == shown


def test_no_character_but_those_that_are_seen_comes_through():
    hidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    every = [sign for number in range(0x110000) if unicodedata.category(sign := chr(number)) in hidden]
    shown = printable("a".join(every))
    assert shown.isascii()
    assert shown.isprintable()


def test_a_line_ends_only_where_it_is_meant_to():
    assert printable("a\nb\tc", keep="\n") == "a\nb\\tc"


@pytest.mark.parametrize("text", ["abc", "日本語", "e\u0301x", "❤", "a日b"])
def test_padding_counts_the_columns_of_a_terminal(text):
    assert cell_len(padded(text, 10)) == 10


def test_columns_of_a_table_stand_below_each_other_whatever_the_names_are(capsys):
    names = ["plain", "日本語の名前", "e\u0301e\u0301e\u0301", EVIL, "[bold]x[/bold]", ":smile:", "[/]"]
    table = Table("NAME", "END", box=None, pad_edge=False)
    for name in names:
        table.add_row(name, "|")
    write_rich(table)
    _, *rows = capsys.readouterr().out.splitlines()
    assert len(rows) == len(names)
    assert len({cell_len(row[: row.index("|")]) for row in rows}) == 1
    assert [row[: row.index("|")].rstrip() for row in rows] == [printable(name) for name in names]


def shown_by_tables() -> list[object]:
    job = a_job(
        id=EVIL, name=EVIL, tags={EVIL: EVIL}, status_reason=EVIL, spec={"experiment": EVIL, "init": EVIL},
        error={"code": EVIL, "message": EVIL}, engine=EVIL, device=EVIL, exec_profile={EVIL: EVIL}, sweep_id=EVIL,
    )  # fmt: skip
    sweep = a_sweep(queued=1).model_copy(update={"name": EVIL})
    diagnosis = Diagnosis.model_validate(
        {
            "summary": EVIL,
            "findings": [{"code": EVIL, "severity": EVIL, "statement": EVIL, "evidence": {}, "try": {"a": EVIL}}],
        }
    )
    return [details(job), table_of([job], width=200), table_of_sweeps([sweep]), described(diagnosis)]


@pytest.mark.parametrize("index", range(4))
def test_nothing_of_a_name_reaches_the_terminal_unescaped(index):
    terminal = io.StringIO()
    PlainConsole(terminal).print(shown_by_tables()[index])
    assert not OBEYED & set(terminal.getvalue())
    assert "202e" in terminal.getvalue()


def test_lines_remarks_and_errors_are_escaped_too(capsys):
    write_line(EVIL)
    tell(EVIL)
    tell_error(ApiError(code="c", status=422, title=EVIL, detail="d", errors=[BadField(EVIL, EVIL)]), as_json=False)
    captured = capsys.readouterr()
    assert not OBEYED & set(captured.out + captured.err)


@pytest.mark.parametrize("display", [lambda stream: Lines(stream), lambda stream: Bars(stream, transient=False)])
def test_progress_is_escaped_too(display, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    terminal = Terminal()
    with display(terminal) as shown:
        shown.show(EVIL, a_job(status="failed", is_terminal=True, error={"code": EVIL, "message": EVIL}), {})
    assert not (OBEYED - {"\r"}) & set(terminal.getvalue())
    assert "202e" in terminal.getvalue()


def test_json_says_the_same_with_escapes(capsys):
    document = {"name": EVIL, "other": "日本語 \U0001f600 \U000e0041"}
    write_json(document)
    tell_error(ApiError(code="c", status=400, title=EVIL, detail="d"), as_json=True)
    captured = capsys.readouterr()
    assert json.loads(captured.out) == document
    assert json.loads(captured.err)["title"] == EVIL
    assert not OBEYED & set(captured.out + captured.err)
    assert "日本語 \U0001f600" in captured.out


def test_json_for_a_terminal_without_utf_8_loses_nothing(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    monkeypatch.setattr("sys.stdout", stream)
    write_json({"name": "日本語"})
    stream.flush()
    assert json.loads(stream.buffer.getvalue()) == {"name": "日本語"}


def test_an_id_of_a_service_is_not_trusted_either(capsys):
    job = a_job(**{**JOB, "id": "job_1\x1b[2J"})
    write_line(job.id)
    assert "\x1b" not in capsys.readouterr().out
