"""Routes of trained networks: files, predictions, confusion matrices and mistakes."""

from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict

from costcurve.core.errors import (
    InvalidRequest,
    JobNotFound,
    ModelNotFound,
    ModelNotReady,
    NoTestImages,
    StoreUnavailable,
)
from costcurve.core.spec import NeuronSpec
from costcurve.store import JobStore
from service.dependencies import DrawingGate, DrawnPictures, ReadingGate, Store
from service.export.model_file import Layers, activate, layers_of, logits, neuron_file
from service.heavy_work import Later
from service.http.conditions import tag_of
from service.http.image_bodies import Images, read_images
from service.http.strict_routes import StrictRoute
from service.http_cache import IfNoneMatch, conditional, etag_of
from service.plotting import confusion, mistakes
from service.plotting.figure import MEDIA_TYPES, Format
from service.problems import documents
from service.responses import BODY_ERRORS
from service.routes.curves import TAGGED
from service.routes.plots import picture_answer
from service.schemas.models import ConfusionOut, MistakeList, PredictionIn, PredictionOut

_NO_MODEL = (JobNotFound, ModelNotFound, ModelNotReady)

router = APIRouter(
    route_class=StrictRoute, tags=["models"], responses=documents(*_NO_MODEL, InvalidRequest, StoreUnavailable)
)

_NO_READER = documents(InvalidRequest, NoTestImages)
_PICTURE: dict[int | str, dict[str, Any]] = TAGGED | {
    200: TAGGED[200] | {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}},
}
_BYTES = "application/octet-stream"
_TEXT_HEADER = {"schema": {"type": "string"}}


class ModelParameters(BaseModel):
    """File format of the model."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["safetensors", "onnx"] = "safetensors"


@router.get(
    "/jobs/{job_id}/model",
    response_class=Response,
    responses={
        200: {
            "content": {_BYTES: {"schema": {"type": "string", "format": "binary"}}},
            "headers": {"ETag": _TEXT_HEADER, "Content-Disposition": _TEXT_HEADER},
        },
        304: {"description": "The model is unchanged: If-None-Match has its ETag."},
    },
)
def get_model(
    job_id: str,
    parameters: Annotated[ModelParameters, Query()],
    store: Store,
    gate: ReadingGate,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Return the trained network as a file; its ETag is its SHA-256."""
    return Later(gate, lambda: _model(store, job_id, parameters, if_none_match))


def _model(store: JobStore, job_id: str, parameters: ModelParameters, if_none_match: Sequence[str] | None) -> Response:
    file = _file(store, job_id)
    if parameters.format == "onnx":
        from service.export.onnx import onnx_of  # slow to import, so only requests for ONNX wait for it

        file = onnx_of(file)
    etag = f'"{sha256(file).hexdigest()}"'
    headers = {"Content-Disposition": f'attachment; filename="{job_id}.{parameters.format}"'}
    return conditional(etag, if_none_match, lambda: Response(file, media_type=_BYTES, headers=headers))


def _network(job_id: str, store: Store) -> Layers:
    """Return the job's trained network.

    As the first dependency of a route, it runs before the body is read.
    """
    return layers_of(store.model(job_id))


@router.post(
    "/jobs/{job_id}/predict",
    responses=documents(*_NO_MODEL, *BODY_ERRORS) | _NO_READER,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": PredictionIn.model_json_schema()}},
        }
    },
)
def predict(
    job_id: str, layers: Annotated[Layers, Depends(_network)], images: Annotated[Images, Depends(read_images)]
) -> PredictionOut:
    """Return the digits that the trained network reads in the images."""
    z = logits(layers, images)
    return PredictionOut(job_id=job_id, digits=z.argmax(axis=1).tolist(), outputs=activate(z).tolist())


@router.get("/jobs/{job_id}/confusion", responses=_NO_READER)
def get_confusion(job_id: str, store: Store) -> ConfusionOut:
    """Return the confusion matrix of the test images.

    It counts how often the network, at the end of its training, reads each digit as each of the ten digits.
    """
    return ConfusionOut.of(job_id, store.confusion(job_id))


@router.get("/jobs/{job_id}/confusion.{file_format}", response_class=Response, responses=_NO_READER | _PICTURE)
def get_confusion_plot(
    job_id: str,
    file_format: Format,
    store: Store,
    pictures: DrawnPictures,
    gate: DrawingGate,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Plot the confusion matrix of the test images as SVG or PNG."""
    with store.read_transaction() as seen:
        job = seen.get(job_id)
        seen.ensure_kept(job_id)
        etag = etag_of("confusion", file_format, job.id, tag_of(job))

        def respond() -> Response:
            draw = partial(confusion.draw, job, seen.confusion(job_id), file_format=file_format)
            return picture_answer(pictures, gate, etag, file_format, draw)

        return conditional(etag, if_none_match, respond)


@router.get("/jobs/{job_id}/mistakes", responses=_NO_READER)
def list_mistakes(job_id: str, store: Store) -> MistakeList:
    """Return at most 64 test images that are read wrongly, the worst first."""
    return MistakeList.of(job_id, store.mistakes(job_id))


@router.get("/jobs/{job_id}/mistakes.{file_format}", response_class=Response, responses=_NO_READER | _PICTURE)
def get_mistakes_plot(
    job_id: str,
    file_format: Format,
    store: Store,
    pictures: DrawnPictures,
    gate: DrawingGate,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Plot the test images that are read wrongly as SVG or PNG.

    Each image has its digit, and the digit that the network reads.
    """
    with store.read_transaction() as seen:
        job = seen.get(job_id)
        seen.ensure_kept(job_id)
        etag = etag_of("mistakes", file_format, job.id, tag_of(job))

        def respond() -> Response:
            draw = partial(mistakes.draw, job, seen.mistakes(job_id), file_format=file_format)
            return picture_answer(pictures, gate, etag, file_format, draw)

        return conditional(etag, if_none_match, respond)


def _file(store: JobStore, job_id: str) -> bytes:
    """Return the model's safetensors file; for a neuron, make it from its result."""
    with store.read_transaction() as seen:
        job = seen.get(job_id)
        return neuron_file(job) if isinstance(job.spec, NeuronSpec) else seen.model(job_id)
