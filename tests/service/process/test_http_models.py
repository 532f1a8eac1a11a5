"""What a trained network is asked for by HTTP, against real processes and real MNIST."""

import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import onnxruntime
import pytest
from matplotlib.image import imread
from safetensors.numpy import load

from tests.helpers.problems import problem
from tests.helpers.processes import Deployment

NETWORK = {"experiment": "mnist", "epochs": 1, "steps_per_epoch": 1000}
DEEP = {**NETWORK, "loss": "quadratic", "layers": [784, 40, 20, 10]}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory, mnist_dir) -> Iterator[Deployment]:
    with Deployment(Path(tmp_path_factory.mktemp("home")), mnist_dir=mnist_dir) as deployment:
        deployment.start_service()
        deployment.start_workers()
        yield deployment


@pytest.fixture(scope="module")
def trained(deployment) -> SimpleNamespace:
    """Jobs that have succeeded."""
    neuron = deployment.submit({"experiment": "neuron", "epochs": 20})
    deep = deployment.submit(DEEP, name="costs $5 & \\frac{")
    network = deployment.submit(NETWORK)
    for job_id in (neuron, deep, network):
        assert deployment.ended(job_id)["status"] == "succeeded"
    return SimpleNamespace(network=network, deep=deep, neuron=neuron)


@pytest.fixture
def client(deployment) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{deployment.url}/v1/jobs", timeout=120) as client:
        yield client


def predicted(client, job_id: str, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    answer = client.post(f"/{job_id}/predict", json={"images": pixels.tolist()}).raise_for_status().json()
    assert answer["job_id"] == job_id
    return np.array(answer["digits"]), np.array(answer["outputs"])


def test_the_model_is_a_safetensors_file_whose_weights_are_the_results(client, deployment, trained):
    answer = client.get(f"/{trained.network}/model")
    result = deployment.job(trained.network)["result"]

    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == f'attachment; filename="{trained.network}.safetensors"'
    tensors = load(answer.content)
    digest = hashlib.sha256()
    for name in ("weights.1", "biases.1", "weights.2", "biases.2"):
        assert tensors[name].dtype == np.float32
        digest.update(tensors[name].tobytes())
    assert digest.hexdigest() == result["weights_sha256"]


@pytest.mark.parametrize("file_format", ["safetensors", "onnx"])
@pytest.mark.parametrize("which", ["network", "neuron"])
def test_a_model_that_is_known_is_not_sent_again(client, trained, which, file_format):
    path = f"/{getattr(trained, which)}/model?format={file_format}"
    first = client.get(path)
    etag = first.headers["etag"]

    assert etag == f'"{hashlib.sha256(first.content).hexdigest()}"'
    again = client.get(path, headers={"If-None-Match": f'"other", W/{etag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert client.get(path, headers={"If-None-Match": '"other"'}).content == first.content


@pytest.mark.parametrize("which", ["network", "deep"])
def test_a_thousand_test_images_are_read_as_the_confusion_matrix_says(client, trained, mnist, which):
    job_id = getattr(trained, which)
    confusion = client.get(f"/{job_id}/confusion").json()
    read = np.concatenate(
        [
            predicted(client, job_id, mnist.test_images[start : start + 1000] / 255)[0]
            for start in range(0, 10_000, 1000)
        ]
    )
    found = np.zeros((10, 10), dtype=int)
    np.add.at(found, (mnist.test_labels, read), 1)

    # numpy rounds otherwise than the engine: an image between two digits may be read the other way.
    assert np.abs(found - np.array(confusion["counts"])).sum() <= 4
    assert found.sum() == 10_000


def test_the_confusion_matrix_agrees_with_the_result(client, deployment, trained, mnist):
    for job_id in (trained.network, trained.deep):
        body = client.get(f"/{job_id}/confusion").json()
        counts = np.array(body["counts"])

        assert body["labels"] == list(range(10))
        assert counts.sum() == body["total"] == 10_000
        assert np.trace(counts) == body["correct"] == deployment.job(job_id)["result"]["final_correct"]
        assert counts.sum(axis=1).tolist() == np.bincount(mnist.test_labels).tolist()


def test_the_mistakes_are_wrongly_read_test_images(client, trained, mnist):
    items = client.get(f"/{trained.network}/mistakes").json()["items"]
    numbers = [item["image"] for item in items]
    digits, outputs = predicted(client, trained.network, mnist.test_images[numbers] / 255)

    assert len(set(numbers)) == 64
    assert [item["cost"] for item in items] == sorted((item["cost"] for item in items), reverse=True)
    assert mnist.test_labels[numbers].tolist() == [item["label"] for item in items]
    assert digits.tolist() == [item["prediction"] for item in items]
    np.testing.assert_allclose(outputs, [item["outputs"] for item in items], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("which", ["network", "deep"])
def test_the_onnx_model_reads_a_thousand_images_as_the_service_does(client, trained, mnist, which):
    job_id = getattr(trained, which)
    session = onnxruntime.InferenceSession(
        client.get(f"/{job_id}/model", params={"format": "onnx"}).content, providers=["CPUExecutionProvider"]
    )
    pixels = mnist.test_images[:1000] / 255
    outputs, digits = session.run(["outputs", "digits"], {"pixels": pixels.astype(np.float32)})
    expected_digits, expected = predicted(client, job_id, pixels)

    assert (digits.dtype, outputs.dtype, outputs.shape) == (np.int64, np.float32, (1000, 10))
    assert digits.tolist() == expected_digits.tolist()
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-6)
    said = session.get_modelmeta().custom_metadata_map
    assert json.loads(said["spec"])["layers"][0] == 784
    assert (said["job_id"], said["format"]) == (job_id, "costcurve-model/1")


def test_a_neurons_model_is_float64_and_gives_the_neurons_output(client, deployment, trained):
    result = deployment.job(trained.neuron)["result"]
    tensors = load(client.get(f"/{trained.neuron}/model").content)
    session = onnxruntime.InferenceSession(
        client.get(f"/{trained.neuron}/model?format=onnx").content, providers=["CPUExecutionProvider"]
    )
    [outputs] = session.run(None, {"inputs": np.array([[1.0], [0.0]])})

    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {
        "weights.1": [[result["final_weight"]]],
        "biases.1": [result["final_bias"]],
    }
    assert outputs[0, 0] == pytest.approx(result["final_output"], rel=1e-12)


@pytest.mark.parametrize("what", ["confusion", "mistakes"])
@pytest.mark.parametrize("which", ["network", "deep"])
def test_pictures_are_pictures_and_the_same_each_time(client, trained, which, what):
    path = f"/{getattr(trained, which)}/{what}"
    png, svg = client.get(f"{path}.png"), client.get(f"{path}.svg")

    assert (png.headers["content-type"], svg.headers["content-type"]) == ("image/png", "image/svg+xml")
    height, width, _ = imread(io.BytesIO(png.content)).shape
    assert width == 960
    assert height > 700
    assert b"read as" in svg.content.replace(b"<!-- ", b"")
    assert client.get(f"{path}.png").content == png.content
    assert client.get(f"{path}.svg").content == svg.content
    for picture, suffix in ((png, "png"), (svg, "svg")):
        again = client.get(f"{path}.{suffix}", headers={"If-None-Match": picture.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert png.headers["etag"] != svg.headers["etag"]


@pytest.mark.parametrize("path", ["predict", "confusion", "confusion.svg", "mistakes", "mistakes.png"])
def test_what_only_a_network_has_is_refused_for_a_neuron(client, trained, path):
    body = {"images": [[0] * 784]}
    method = "POST" if path == "predict" else "GET"
    answer = client.request(method, f"/{trained.neuron}/{path}", json=body, headers={"If-None-Match": "*"})

    assert "does not classify images" in problem(answer, 422, "no_test_images")["detail"]


@pytest.mark.parametrize("experiment", ["mnist", "neuron"])
def test_a_job_that_has_not_ended_or_not_succeeded_has_no_model(client, deployment, experiment):
    job_id = deployment.submit({"experiment": experiment}, device="cuda")  # which no worker here has
    assert "is queued" in problem(client.get(f"/{job_id}/model"), 409, "model_not_ready")["detail"]
    client.post(f"/{job_id}/cancel").raise_for_status()

    assert "is cancelled" in problem(client.get(f"/{job_id}/model"), 404, "model_not_found")["detail"]


@pytest.mark.parametrize("path", ["model", "confusion", "confusion.png", "mistakes", "mistakes.svg"])
def test_a_job_that_does_not_exist_has_no_model(client, path):
    problem(client.get(f"/job_0/{path}"), 404, "job_not_found")


@pytest.mark.parametrize("query", ["format=pickle", "format=", "colour=red"])
def test_a_format_that_does_not_exist_is_named(client, trained, query):
    found = problem(client.get(f"/{trained.network}/model?{query}"), 422, "invalid_request")

    assert [error["pointer"] for error in found["errors"]] == [f"/query/{query.partition('=')[0]}"]


def images(**changed: object) -> list:
    """Two black images but for some pixels, `p17=0.5` being that of the second."""
    pixels = [0.0] * 784
    for name, value in changed.items():
        pixels[int(name[1:])] = value
    return [[0] * 784, pixels]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/images"]),
        ({"images": []}, ["/images"]),
        ({"images": [[]]}, ["/images/0"]),
        ({"images": [[0] * 783, [0] * 785]}, ["/images/0"]),
        ({"images": [[0] * 784] * 1001}, ["/images"]),
        ({"images": images(p17=1.5)}, ["/images/1/17"]),
        ({"images": images(p17=-0.1, p18="x")}, ["/images/1/17"]),
        ({"images": images(p783=True)}, ["/images/1/783"]),
        ({"images": images(p0="0.5")}, ["/images/1/0"]),
        ({"images": images(p0=None)}, ["/images/1/0"]),
        ({"images": [0.5] * 784}, ["/images/0"]),
        ({"images": [[0] * 784], "digits": [1]}, ["/digits"]),
    ],
)
def test_bad_images_are_named_by_their_place(client, trained, body, pointers):
    found = problem(client.post(f"/{trained.network}/predict", json=body), 422, "invalid_request")

    assert [error["pointer"] for error in found["errors"]] == pointers


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "1e999"])
def test_pixels_that_are_not_finite_are_named(client, trained, literal):
    content = f'{{"images": [[{literal}{", 0" * 783}]]}}'
    answer = client.post(f"/{trained.network}/predict", content=content, headers={"content-type": "application/json"})

    assert problem(answer, 422, "invalid_request")["errors"][0]["pointer"] == "/images/0/0"


def test_a_thousand_images_with_every_digit_fit_and_more_bytes_do_not(client, trained):
    pixels = np.random.default_rng(0).random((1000, 784))
    digits, outputs = predicted(client, trained.network, pixels)
    assert outputs.shape == (1000, 10)
    assert digits.tolist() == outputs.argmax(axis=1).tolist()

    headers = {"content-type": "application/json"}
    problem(
        client.post(f"/{trained.network}/predict", content=b" " * (21 << 20), headers=headers), 413, "body_too_large"
    )
    problem(client.post(f"/{trained.network}/clone", content=b" " * (2 << 20), headers=headers), 413, "body_too_large")


def test_of_a_thousand_bad_images_the_first_is_named(client, trained):
    body = json.dumps({"images": [["x"] * 784] * 1000})
    answer = client.post(f"/{trained.network}/predict", content=body, headers={"content-type": "application/json"})

    errors = problem(answer, 422, "invalid_request")["errors"]
    assert [error["pointer"] for error in errors] == ["/images/0/0"]


def test_extreme_outputs_neither_overflow_nor_warn():
    from service.export.model_file import logits, sigmoid

    z = np.array([[-np.inf, -1e30, -88.8, -0.0, 0.0, 88.8, 1e30, np.inf]], dtype=np.float32)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        found = sigmoid(z)
    assert found.dtype == np.float32
    assert found[0, [0, 1, 3, 4, 6, 7]].tolist() == [0, 0, 0.5, 0.5, 1, 1]
    assert logits([(np.ones((2, 3), np.float32), np.zeros(3, np.float32))], np.ones((1, 2), np.float32)).tolist() == [
        [2, 2, 2]
    ]


def test_the_service_and_the_client_never_import_torch():
    program = "import sys, service.__main__, service.export.onnx, costcurve.cli.app; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ran.stdout == "False\n"
