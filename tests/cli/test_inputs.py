"""What a person may give to a command by mistake: told in a line that says what to do, never by a traceback."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.commands import Ran, piped, runner
from tests.helpers.scripted_server import JOB, a_server, answers

PREDICTION = {"job_id": "job_1", "digits": [3], "outputs": [[0.0] * 10]}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    monkeypatch.setenv("COSTCURVE_URL", "http://127.0.0.1:1")
    return runner(capsys)


def words(text: str) -> str:
    """A text without the frame and the line breaks that an error has on a terminal."""
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[[NaN]]", "NaN is not a finite number"),
        ("[[Infinity]]", "Infinity is not a finite number"),
        ("[[1e400]]", "1e400 is not a finite number"),
        ("[" * 100_000, "nested too deep"),
        ('[["x"]]', "images[0][0] is 'x'"),
        ("[null]", "images[0] is None"),
        ("null", "must be a list"),
        ('{"pictures": []}', "no 'images'"),
        ('{"images": [], "images": [[1]]}', "'images' is given twice"),
        (b"\xff\xfe\x00", "not UTF-8"),
        ("", "not JSON"),
        ("1" * 5000, "not JSON"),
    ],
)
@pytest.mark.parametrize("source", ["file", "standard input"])
def test_images_that_are_none_are_wrong_usage(run, tmp_path, monkeypatch, content, told, source):
    file = tmp_path / "i"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.setattr("sys.stdin", piped(content))
    ran = run("predict", "job_1", str(file) if source == "file" else "-")
    assert ran.code == 2, ran
    assert told in words(ran.err)
    assert "an image file such as a PNG" in words(ran.err)


@pytest.mark.parametrize(
    ("images", "sent"),
    [
        ([[0.5] * 784], [[0.5] * 784]),
        ([0.5] * 784, [[0.5] * 784]),
        ([[0.5] * 28] * 28, [[0.5] * 784]),
        ([[[0.5] * 28] * 28] * 2, [[0.5] * 784] * 2),
        ([[51] * 28] * 28, [[0.2] * 784]),
        ({"images": [[51] * 784, [0] * 784]}, [[0.2] * 784, [0.0] * 784]),
        ([[1] * 784], [[1] * 784]),
    ],
)
def test_images_come_in_the_shapes_that_people_have(run, tmp_path, images, sent):
    file = tmp_path / "images.json"
    file.write_text(json.dumps(images))
    with a_server(answers(PREDICTION)) as (url, asked):
        assert run("--url", url, "predict", "job_1", str(file)).out == "3\n"
    assert json.loads(asked[0][2])["images"] == sent


FILES = ["predict", "submit", "validate", "sweep submit"]


@pytest.mark.parametrize("command", FILES)
@pytest.mark.parametrize(("name", "told"), [("folder", "Is a directory"), ("none", "No such file"), ("a\0b", "null")])
def test_a_file_that_cannot_be_read_is_told(run, tmp_path, command, name, told):
    (tmp_path / "folder").mkdir()
    option = ["job_1"] if command == "predict" else ["--spec"]
    ran = run(*command.split(), *option, str(tmp_path / name))
    assert ran.code == (1 if command == "predict" else 2)
    assert told in words(ran.err)


@pytest.mark.parametrize("command", FILES)
def test_a_file_without_an_end_is_given_up(run, command):
    option = ["job_1"] if command == "predict" else ["--spec"]
    ran = run(*command.split(), *option, "/dev/zero")
    assert ran.code != 0
    assert "holds more than 64 MiB" in words(ran.err)


@pytest.mark.parametrize("command", ["model", "curve", "confusion", "sweep plot"])
@pytest.mark.parametrize("target", ["folder.svg", "file.svg/below.svg", "/proc/none/x.svg"])
def test_a_file_that_cannot_be_written_is_told(run, tmp_path, command, target):
    (tmp_path / "folder.svg").mkdir()
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file.svg").touch()
    (tmp_path / "file.onnx").touch()
    file = str(tmp_path / target)
    arguments = {
        "model": ["model", "job_1", file.replace(".svg", ".onnx")],
        "curve": ["curve", "job_1", "--plot", file],
        "confusion": ["confusion", "job_1", "--plot", file],
        "sweep plot": ["sweep", "plot", "swp_1", file],
    }[command]
    content_type = "application/octet-stream" if command == "model" else "image/svg+xml"
    with a_server(answers(b"x", content_type=content_type)) as (url, _):
        ran = run("--url", url, *arguments)
    assert ran.code == 1
    assert "cannot write" in ran.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["submit", "--experiment", "neuron", "--tag", "a=b", "--tag", "a=c"],
            "the key 'a' is given twice, as 'b' and 'c'",
        ),
        (["list", "--tag", "a=b", "--tag", "a=b"], "the key 'a' is given twice"),
        (["update", "job_1", "--tag", "a=b", "--tag", "a=c"], "the key 'a' is given twice"),
        (["submit", "--experiment", "neuron", "--epochs", "3", "--epochs", "5"], "'--epochs': is given twice"),
        (["submit", "--experiment", "neuron", "--experiment", "mnist"], "'--experiment': is given twice"),
        (
            ["submit", "--experiment", "neuron", "--init", '{"scheme": "zeros", "scheme": "normal"}'],
            "the key 'scheme' is given",
        ),
        (["list", "--limit", "3", "--limit", "3"], "'--limit': is given twice"),
        (["list", "--url", "http://a", "--url", "http://b"], "'--url': is given twice"),
        (["--url", "http://a", "--url", "http://b", "list"], "'--url'"),
        (["update", "job_1", "--pin", "--unpin"], "'--pin': is given twice"),
        (["sweep", "submit", "--experiment", "neuron", "--repeats", "1", "--repeats", "2"], "'--repeats': is given"),
        (["sweep", "submit", "--preset", "x", "--grid", "epochs=1", "--grid", "epochs=2"], "epochs is given twice"),
        (["sweep", "submit", "--preset", "x", "--grid", 'init=[{"std": 1, "std": 2}]'], "the key 'std' is given twice"),
        (["db", "migrate", "--wait", "1", "--wait", "2"], "'--wait': is given twice"),
        (["submit", "--experiment", "neuron", "--idempotency-key", "a\nb"], "printable ASCII"),
        (["model", "job_1", "a\x1b[2J\u202e.pt"], r"a\x1b[2J\u202e.pt must end in"),
    ],
)
def test_what_is_given_twice_or_cannot_be_meant_is_wrong_usage(run, arguments, told):
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert told in words(ran.err)
    assert "\x1b" not in ran.err


def test_a_key_twice_in_a_file_is_wrong_usage(run, tmp_path):
    file = tmp_path / "spec.json"
    file.write_text('{"experiment": "neuron", "epochs": 3, "epochs": 5}')
    ran = run("submit", "--spec", str(file))
    assert ran.code == 2
    assert "the key 'epochs' is given twice in one object" in words(ran.err)


def test_what_may_be_given_twice_may_be(run):
    with a_server(answers(JOB, 201)) as (url, asked):
        ran = run("--url", url, "submit", "--experiment", "neuron", "--tag", "a=1", "--tag", "b=1", "--json", "--json")
    assert ran.code == 0
    assert json.loads(asked[0][2])["tags"] == {"a": "1", "b": "1"}


def test_a_text_that_is_no_utf_8_reaches_the_service_as_an_escape(run):
    with a_server(answers(JOB, 201)) as (url, asked):
        ran = run("--url", url, "submit", "--experiment", "neuron", "--name", "\udcff")
    assert ran.code == 0
    assert json.loads(asked[0][2])["name"] == "\udcff"


def test_a_closed_standard_input_is_told(run, monkeypatch):
    with Path("/dev/null").open("w") as closed:
        monkeypatch.setattr(sys, "stdin", open(closed.fileno(), closefd=False))  # noqa: SIM115
        ran = run("predict", "job_1", "-")
    assert (ran.code, "cannot read standard input: Bad file descriptor" in ran.err) == (1, True)
