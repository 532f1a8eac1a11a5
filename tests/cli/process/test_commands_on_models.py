"""The Python client and the command line on a trained network, against real processes and real MNIST."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from costcurve import ApiError, AsyncClient, Client
from tests.helpers.commands import Ran, piped, runner
from tests.helpers.processes import Deployment

PNG = b"\x89PNG\r\n"


@pytest.fixture(scope="module")
def deployment(tmp_path_factory, mnist_dir) -> Iterator[Deployment]:
    with Deployment(Path(tmp_path_factory.mktemp("home")), mnist_dir=mnist_dir) as deployment:
        deployment.start_service()
        deployment.start_workers()
        yield deployment


@pytest.fixture(scope="module")
def job(deployment) -> str:
    """The id of a job that trained a network."""
    job_id = deployment.submit({"experiment": "mnist", "epochs": 1, "steps_per_epoch": 500})
    assert deployment.ended(job_id)["status"] == "succeeded"
    return job_id


@pytest.fixture
def run(deployment, capsys, monkeypatch) -> Callable[..., Ran]:
    monkeypatch.setenv("COSTCURVE_URL", deployment.url)
    return runner(capsys)


@pytest.fixture
def client(deployment) -> Iterator[Client]:
    with Client(deployment.url) as client:
        yield client


def test_the_client_has_an_array_of_images_read(client, job, mnist):
    pixels = mnist.test_images[:50].astype(np.float32) / 255
    read = client.predict(job, pixels)

    assert read.job_id == job
    assert read.digits == np.argmax(read.outputs, axis=1).tolist()
    assert np.mean(np.array(read.digits) == mnist.test_labels[:50]) > 0.7
    with pytest.raises(ApiError) as refused:
        client.predict(job, [[2.0] * 784])
    assert [error.pointer for error in refused.value.errors] == ["/images/0/0"]


def test_the_client_fetches_what_became_of_a_network(client, deployment, job):
    confusion, mistakes = client.confusion(job), client.mistakes(job)

    assert confusion.correct == deployment.job(job)["result"]["final_correct"]
    assert confusion.total == sum(map(sum, confusion.counts)) == 10_000
    assert len(mistakes) == 64
    assert all(mistake.label != mistake.prediction for mistake in mistakes)
    assert b"weights.1" in client.model(job)
    assert b"Sigmoid" in client.model(job, format="onnx")
    assert client.model_plot(job, "mistakes", format="png").startswith(PNG)
    assert b"<svg" in client.model_plot(job, "confusion")


def test_the_asynchronous_client_fetches_the_same(client, deployment, job):
    async def fetched() -> tuple:
        async with AsyncClient(deployment.url) as other:
            return await other.model(job), await other.confusion(job), await other.mistakes(job)

    assert asyncio.run(fetched()) == (client.model(job), client.confusion(job), client.mistakes(job))


@pytest.mark.parametrize("suffix", ["safetensors", "onnx", "ONNX"])
def test_a_model_is_written_to_a_file(run, client, job, tmp_path, suffix):
    file = tmp_path / "new" / f"digits.{suffix}"
    ran = run("model", job, str(file))

    assert (ran.code, ran.out, ran.err) == (0, "", f"wrote {file}\n")
    assert file.read_bytes() == client.model(job, format=suffix.lower())
    assert json.loads(run("model", job, str(file), "--json").out) == {"file": str(file)}


def test_the_format_of_a_file_is_told_by_its_name(run, job, tmp_path):
    ran = run("model", job, str(tmp_path / "model.pt"))

    assert ran.code == 2
    assert "must end in .safetensors or .onnx" in " ".join(re.findall(r"[\w.]+", ran.err))


def test_images_in_a_file_are_read_line_by_line(run, client, job, mnist, tmp_path, monkeypatch):
    images = (mnist.test_images[:20] / 255).round(6).tolist()
    expected = client.predict(job, images)
    file = tmp_path / "images.json"
    for document in (images, {"images": images}):
        file.write_text(json.dumps(document))
        assert run("predict", job, str(file)).out == "".join(f"{digit}\n" for digit in expected.digits)
    assert json.loads(run("predict", job, str(file), "--json").out) == expected.model_dump()
    monkeypatch.setattr("sys.stdin", piped(json.dumps(images)))
    assert run("predict", job, "-").out.splitlines() == [str(digit) for digit in expected.digits]


def picture(pixels: np.ndarray, tmp_path: Path, name: str = "digit.png", mode: str = "L") -> str:
    """The path of an image file that shows a digit of MNIST, 0 to 255."""
    file = tmp_path / name
    Image.fromarray(pixels).convert(mode).save(file)
    return str(file)


def test_a_picture_of_28_by_28_pixels_is_read_as_the_image_that_it_is(run, client, job, mnist, tmp_path, monkeypatch):
    image = mnist.test_images[0].reshape(28, 28)
    (expected,) = client.predict(job, image).digits
    assert client.predict(job, image).outputs == client.predict(job, [(image.reshape(784) / 255).tolist()]).outputs
    for name, mode in (
        ("a.png", "L"),
        ("a.png", "RGB"),
        ("a.png", "RGBA"),
        ("a.png", "P"),
        ("a.bmp", "L"),
        ("a.ppm", "L"),
    ):
        ran = run("predict", job, picture(image, tmp_path, name, mode))
        assert (ran.code, ran.out, ran.err) == (0, f"{expected}\n", ""), (name, mode)
    monkeypatch.setattr("sys.stdin", piped(Path(picture(image, tmp_path)).read_bytes()))
    assert run("predict", job, "-").out == f"{expected}\n"
    ran = run("predict", job, picture(255 - image, tmp_path))
    assert (ran.code, ran.out, "dark pixels count as ink" in ran.err) == (0, f"{expected}\n", True)


def test_a_drawing_of_any_size_is_read_as_mnist_would_have_it(run, client, job, mnist, tmp_path):
    """Dark ink on white paper, many times as large, and not in the middle: what a person draws."""
    count, right = 40, 0
    images = mnist.test_images[:count].reshape(count, 28, 28)
    as_they_are = client.predict(job, images).digits
    for image, digit in zip(images, as_they_are, strict=True):
        drawing = np.full((400, 300), 255, dtype=np.uint8)
        drawing[150:374, 20:244] = 255 - np.kron(image, np.ones((8, 8), dtype=np.uint8))
        ran = run("predict", job, picture(drawing, tmp_path))
        assert ran.code == 0, ran.err
        right += ran.out == f"{digit}\n"
    assert right >= 0.95 * count


def test_a_file_that_is_no_picture_of_a_digit_is_told(run, job, tmp_path):
    blank = run("predict", job, picture(np.full((50, 50), 255, dtype=np.uint8), tmp_path))
    assert (blank.code, "shows no digit" in blank.err) == (1, True)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    ran = run("predict", job, str(broken))
    assert (ran.code, "cannot be read as an image" in ran.err) == (1, True)
    large = tmp_path / "large.png"
    Image.new("1", (5000, 5000)).save(large)
    ran = run("predict", job, str(large))
    assert (ran.code, "has 5000 × 5000 pixels; at most" in ran.err) == (1, True)


@pytest.mark.parametrize("text", ["{", "3", "[3]", '[["x"]]', "{}", "null"])
def test_a_file_without_images_is_wrong_usage(run, job, tmp_path, text):
    file = tmp_path / "images.json"
    file.write_text(text)

    assert run("predict", job, str(file)).code == 2


def test_bad_images_are_told_by_their_place(run, job, tmp_path):
    file = tmp_path / "images.json"
    file.write_text(json.dumps([[0] * 784, [0] * 783]))
    ran = run("predict", job, str(file))

    assert ran.code == 2
    assert "/images/1: must not be shorter than 784" in ran.err
    assert run("predict", job, str(tmp_path / "missing.json")).code == 1


def test_the_confusion_matrix_is_a_table(run, client, job):
    found = client.confusion(job)
    ran = run("confusion", job)
    head, *rows = ran.out.splitlines()

    assert head.split() == ["DIGIT", *(word for digit in range(10) for word in ("AS", str(digit)))]
    assert [[int(cell) for cell in row.split()] for row in rows] == [
        [digit, *counts] for digit, counts in enumerate(found.counts)
    ]
    assert ran.err == f"{found.correct} of 10000 test images are read correctly\n"
    assert json.loads(run("confusion", job, "--json").out) == found.model_dump()


def test_the_mistakes_are_a_table_the_worst_first(run, client, job):
    found = client.mistakes(job)
    _, *rows = run("mistakes", job).out.splitlines()

    assert [row.split()[:3] for row in rows] == [
        [str(each.image), str(each.label), str(each.prediction)] for each in found
    ]
    assert json.loads(run("mistakes", job, "--json").out)["items"][0] == found[0].model_dump()


@pytest.mark.parametrize("what", ["confusion", "mistakes"])
def test_pictures_are_written_to_files(run, job, tmp_path, what):
    png, svg = tmp_path / "a.png", tmp_path / "a.svg"
    assert run(what, job, "--plot", str(png)).err == f"wrote {png}\n"
    assert json.loads(run(what, job, "--plot", str(svg), "--json").out) == {"file": str(svg)}

    assert png.read_bytes().startswith(PNG)
    assert b"<svg" in svg.read_bytes()
    assert run(what, job, "--plot", str(tmp_path / "a.gif")).code == 2


def test_a_job_without_a_model_says_so(run, deployment):
    neuron = deployment.submit({"experiment": "neuron", "epochs": 5})
    waiting = deployment.submit({"experiment": "mnist"}, device="cuda")
    deployment.ended(neuron)

    assert "does not classify images" in run("confusion", neuron).err
    assert run("mistakes", neuron).code == 2
    assert run("model", waiting, "model.onnx").code == 1
    assert run("cancel", waiting).code == 0
    assert run("model", waiting, "model.onnx").code == 3
    assert run("model", "job_0", "model.onnx").code == 3
