"""The JSON of predictions, confusion matrices and mistakes."""

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from costcurve.core.model_file import Confusion, Mistake
from costcurve.core.spec import DIGITS, PIXELS
from costcurve.core.validation import StrictModel

MAX_IMAGES = 1_000

Pixel = Annotated[float, Field(ge=0, le=1)]
# The first bad pixel is named: an error for each of 784,000 would help no client.
Image = Annotated[list[Pixel], Field(min_length=PIXELS, max_length=PIXELS, fail_fast=True)]


class PredictionIn(StrictModel):
    """Images to read, each of 784 pixels row by row, from 0 (paper) to 1 (ink)."""

    images: Annotated[list[Image], Field(min_length=1, max_length=MAX_IMAGES, fail_fast=True)]


class PredictionOut(BaseModel):
    """Digit that the network reads in each image, and its ten outputs."""

    job_id: str
    digits: list[int]
    outputs: list[list[float]]


class ConfusionOut(BaseModel):
    """Confusion matrix: `counts[i][j]` test images of digit `labels[i]` are read as `labels[j]`."""

    job_id: str
    labels: list[int]
    counts: list[list[int]]
    correct: int
    total: int

    @classmethod
    def of(cls, job_id: str, confusion: Confusion) -> Self:
        return cls(
            job_id=job_id,
            labels=list(range(DIGITS)),
            counts=[list(row) for row in confusion],
            correct=sum(confusion[digit][digit] for digit in range(DIGITS)),
            total=sum(map(sum, confusion)),
        )


class MistakeOut(BaseModel):
    """A test image that is read wrongly.

    `image` is its number among the test images, from 0.
    """

    model_config = ConfigDict(from_attributes=True)

    image: int
    label: int
    prediction: int
    cost: float
    outputs: list[float]


class MistakeList(BaseModel):
    """Test images that are read wrongly, those with the highest cost first.

    The cost is by the job's loss.
    """

    job_id: str
    items: list[MistakeOut]

    @classmethod
    def of(cls, job_id: str, mistakes: Sequence[Mistake]) -> Self:
        return cls(job_id=job_id, items=[MistakeOut.model_validate(mistake) for mistake in mistakes])
