# ruff: noqa: D417 - these are the client's own docstrings, and its callers never see `remote`
"""What the client can do with a trained network, as steps (exchange.py)."""

from collections.abc import Iterable
from typing import Any, Literal

from costcurve.client.images import as_images
from costcurve.client.request import FILE, Call, as_bytes, as_model, job_path, picture_type
from costcurve.client.transport import Remote, Steps
from costcurve.client.types import Confusion, Mistake, MistakeList, Prediction

# Seconds that a service may take to read a thousand images with a network of five million weights.
_PREDICTION_TIMEOUT = 120


def model(
    remote: Remote,
    /,
    job_id: str,
    *,
    format: Literal["safetensors", "onnx"] = "safetensors",  # noqa: A002 - the word everybody looks for
) -> Steps[bytes]:
    """The trained model as a file, of a job that has succeeded.

    Args:
        job_id: the job.
        format: `safetensors`, or `onnx`.

    Raises:
        ApiError: status 409 while the job has not ended; status 404 if it has no model.
    """
    return remote.answer(Call("GET", job_path(job_id, "/model"), as_bytes, query={"format": format}, media_type=FILE))


def predict(remote: Remote, /, job_id: str, images: Iterable[Any]) -> Steps[Prediction]:
    """Have the trained network read images.

    Args:
        job_id: the job, which must have succeeded, on MNIST.
        images: 1 to 1,000 images, each 784 pixels row by row or 28 rows of 28, as lists, arrays or tensors; or one
            image alone. A pixel is 0 (paper) to 1 (ink); whole numbers from 0 to 255, if one is above 1, are divided
            by 255.

    Raises:
        ApiError: status 422, and `errors` names the first bad pixel of each image; otherwise as for `model`.
        TypeError: there is something else than numbers.
        ValueError: a pixel is not a finite number.
    """
    body = {"images": as_images(images)}
    path = job_path(job_id, "/predict")
    return remote.answer(Call("POST", path, as_model(Prediction), body=body, timeout=_PREDICTION_TIMEOUT))


def confusion(remote: Remote, /, job_id: str) -> Steps[Confusion]:
    """How often each digit of the test images is read as which.

    Raises:
        ApiError: status 422 if the job trains a neuron; otherwise as for `model`.
    """
    return remote.answer(Call("GET", job_path(job_id, "/confusion"), as_model(Confusion)))


def mistakes(remote: Remote, /, job_id: str) -> Steps[list[Mistake]]:
    """The test images that are read most wrongly, the worst first, 64 at most.

    Raises:
        ApiError: as for `confusion`.
    """
    listed = yield from remote.answer(Call("GET", job_path(job_id, "/mistakes"), as_model(MistakeList)))
    return listed.items


def model_plot(
    remote: Remote,
    /,
    job_id: str,
    what: Literal["confusion", "mistakes"],
    *,
    format: Literal["svg", "png"] = "svg",  # noqa: A002 - the word everybody looks for
) -> Steps[bytes]:
    """A picture of the confusion matrix, or of the test images that are read most wrongly.

    Raises:
        ApiError: as for `confusion`.
    """
    return remote.answer(Call("GET", job_path(job_id, f"/{what}.{format}"), as_bytes, media_type=picture_type(format)))
