"""Image files for `predict`, scaled and centred like MNIST's digits by Pillow."""

import io
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from costcurve.cli.local_service import require
from costcurve.cli.output import tell
from costcurve.client.errors import CostCurveError
from costcurve.client.images import SIDE

if TYPE_CHECKING:
    from PIL.Image import Image

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
_BEGINNINGS = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"GIF8", b"P2", b"P5", b"P6", b"II*\0", b"MM\0*", b"RIFF")
_MOST_PIXELS = 1 << 24
_BRIGHT = 128
_INK = 32
# Side in pixels of the square that an MNIST digit fills. Its centre of mass is the middle of the image.
_DIGIT = 20


def is_image(content: bytes) -> bool:
    """Return True if the content begins like an image file."""
    return content.startswith(_BEGINNINGS)


def pixels_of(content: bytes, name: str) -> list[float]:
    """Return the 784 pixels of an image file, row by row.

    Pixels range from 0 (paper) to 1 (ink). MNIST draws bright ink on a dark ground, so an image with a bright border is
    inverted. An image of 28 × 28 pixels is not scaled or moved. In an image of another size, the ink is cut out, scaled
    into 20 × 20 pixels and centred by its centre of mass, as in MNIST.

    Raises:
        CostCurveError: the file cannot be read, shows nothing or is too large, or Pillow is not installed.

    Source: LeCun, Cortes, Burges, The MNIST database of handwritten digits.
    """
    require("images", "PIL")
    grey = _ink(_opened(content, name), name)
    if grey.size != (SIDE, SIDE):
        grey = _as_in_mnist(grey, name)
    return [value / 255 for value in grey.tobytes()]


def _opened(content: bytes, name: str) -> "Image":
    """Return the image in grey (0 is black), transparent parts white."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as opened:
            width, height = opened.size
            if width * height > _MOST_PIXELS:
                raise CostCurveError(f"{name} has {width} × {height} pixels; at most {_MOST_PIXELS:,} are allowed")
            canvas = Image.new("RGBA", opened.size, "white")
            canvas.alpha_composite(opened.convert("RGBA"))
            return canvas.convert("L")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise CostCurveError(f"{name} cannot be read as an image: {error}") from error


def _ink(grey: "Image", name: str) -> "Image":
    """Return the image with bright ink on a dark ground.

    The image is inverted if the median of its border is bright.
    """
    from PIL import ImageOps

    width, height = grey.size
    edges = ((0, 0, width, 1), (0, height - 1, width, height), (0, 0, 1, height), (width - 1, 0, width, height))
    border: Sequence[int] = [value for edge in edges for value in grey.crop(edge).tobytes()]
    if median(border) < _BRIGHT:
        return grey
    tell(f"{name} has a bright border, so its dark pixels count as ink")
    return ImageOps.invert(grey)


def _as_in_mnist(ink: "Image", name: str) -> "Image":
    from PIL import Image

    box = ink.point(lambda value: 255 if value >= _INK else 0).getbbox()
    if box is None:
        raise CostCurveError(f"{name} shows no digit: no pixel stands out from its border")
    digit = ink.crop(box)
    scale = _DIGIT / max(digit.size)
    width, height = (max(round(side * scale), 1) for side in digit.size)
    digit = digit.resize((width, height), Image.Resampling.LANCZOS)
    values = digit.tobytes()
    weight = sum(values) or 1
    x = sum(value * (index % width) for index, value in enumerate(values)) / weight
    y = sum(value * (index // width) for index, value in enumerate(values)) / weight
    place = tuple(min(max(round(SIDE / 2 - centre), 0), SIDE - side) for centre, side in ((x, width), (y, height)))
    canvas = Image.new("L", (SIDE, SIDE), 0)
    canvas.paste(digit, (place[0], place[1]))
    return canvas
