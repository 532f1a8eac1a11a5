# ruff: noqa: D417 - the client shows these docstrings, and its callers do not pass `remote`
"""Operations of the client on trained networks, as steps (transport.py)."""

from collections.abc import Iterable
from typing import Any, Literal

from costcurve.client.images import as_images
from costcurve.client.request import FILE, Call, as_bytes, as_model, job_path, picture_type
from costcurve.client.transport import Remote, Steps
from costcurve.client.types import Confusion, Mistake, MistakeList, Prediction

# Seconds: enough for a service to classify 1,000 images with a network of 5 million weights.
_PREDICTION_TIMEOUT = 120


def model(
    remote: Remote,
    /,
    job_id: str,
    *,
    format: Literal["safetensors", "onnx"] = "safetensors",  # noqa: A002 - the usual name for it
) -> Steps[bytes]:
    """Return the trained model of a succeeded job as a file.

    Args:
        job_id: id of the job.
        format: `safetensors` or `onnx`.

    Raises:
        ApiError: status 409 if the job has not ended; status 404 if it has no model.
    """
    return remote.answer(Call("GET", job_path(job_id, "/model"), as_bytes, query={"format": format}, media_type=FILE))


def predict(remote: Remote, /, job_id: str, images: Iterable[Any]) -> Steps[Prediction]:
    """Classify images with the trained network of the job.

    Args:
        job_id: id of the job, which must have succeeded, on MNIST.
        images: one image, or 1 to 1,000 images, as lists, arrays or tensors. An image is 784 pixels row by row, or 28
            rows of 28. A pixel is 0 (paper) to 1 (ink). Pixels are divided by 255 if all are whole numbers from 0 to
            255 and at least one is above 1.

    Raises:
        ApiError: status 422 if a pixel is not valid; `errors` lists the first bad pixel of each image. Otherwise as for
            `model`.
        TypeError: a value is not a number.
        ValueError: a pixel is not a finite number.
    """
    body = {"images": as_images(images)}
    path = job_path(job_id, "/predict")
    return remote.answer(Call("POST", path, as_model(Prediction), body=body, timeout=_PREDICTION_TIMEOUT))


def confusion(remote: Remote, /, job_id: str) -> Steps[Confusion]:
    """Return the confusion matrix of the network on the test images.

    Raises:
        ApiError: status 422 if the job trains a neuron; otherwise as for `model`.
    """
    return remote.answer(Call("GET", job_path(job_id, "/confusion"), as_model(Confusion)))


def mistakes(remote: Remote, /, job_id: str) -> Steps[list[Mistake]]:
    """Return the test images that are classified most wrongly, worst first.

    At most 64 images are returned.

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
    format: Literal["svg", "png"] = "svg",  # noqa: A002 - the usual name for it
) -> Steps[bytes]:
    """Return a plot of the confusion matrix or of the worst mistakes.

    Args:
        job_id: id of the job.
        what: `confusion`, or `mistakes` for the test images that are classified most wrongly.
        format: `svg` or `png`.

    Raises:
        ApiError: as for `confusion`.
    """
    return remote.answer(Call("GET", job_path(job_id, f"/{what}.{format}"), as_bytes, media_type=picture_type(format)))
