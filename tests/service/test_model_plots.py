"""Pictures of what a network reads wrongly, however much or little that is."""

import io

import pytest
from matplotlib.image import imread

from costcurve.core.model_file import Mistake
from service.plotting import confusion, mistakes


def mistake(image: int) -> Mistake:
    return Mistake(image, 3, 5, 1.5, (0.0, 0.0, 0.0, 1e-9, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0), bytes(range(196)) * 4)


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "no test image is read wrongly"), (1, "the test image read"), (9, "the 9 test images read")],
)
def test_a_sheet_is_as_high_as_there_are_mistakes(submit, count, said):
    job = submit({"experiment": "mnist"}, name="costs $5, says <b>&amp;")
    shown = [mistake(image) for image in range(count)]
    svg = mistakes.draw(job, shown, file_format="svg").decode()
    height, width, _ = imread(io.BytesIO(mistakes.draw(job, shown, file_format="png"))).shape

    assert said in svg
    assert svg.count("<!-- 3 read as 5 -->") == count
    assert width == 960
    assert height == pytest.approx(120 + 150 * max(1, -(-count // 8)), abs=60)


@pytest.mark.parametrize("diagonal", [0, 1000], ids=["nothing was read", "all was read rightly"])
def test_a_confusion_matrix_without_mistakes_or_without_images_can_be_drawn(submit, diagonal):
    counts = tuple(tuple(diagonal * (row == column) for column in range(10)) for row in range(10))
    svg = confusion.draw(submit({"experiment": "mnist"}), counts, file_format="svg").decode()

    assert f"{10 * diagonal:,} of {10 * diagonal:,} test images are read correctly" in " ".join(svg.split())
