"""Conversion of images of common shapes to lists of 784 pixels."""

from typing import Any

from costcurve.client.plain_values import are_numbers, plain
from costcurve.core.datasets import MNIST

SIDE = MNIST.height
PIXELS = MNIST.pixels
_DARKEST_BYTE = 255


def as_images(images: object) -> list[Any]:
    """Return images as lists of pixels, 0 (paper) to 1 (ink).

    Accepts one image or several, each of 784 pixels or of 28 rows of 28, as lists, arrays or tensors. Other axes of
    length 1, such as a colour channel, are allowed. Pixels are divided by 255 if all of them are whole numbers from 0
    to 255 and at least one is above 1. An image of another size is returned unchanged: the service reports it.

    Raises:
        TypeError: a value is not a number.
        ValueError: a pixel is not a finite number.
    """
    given = plain(images, "images")
    if not isinstance(given, list):
        raise TypeError(f"images must be a list of images, not {type(images).__name__}")
    if len(given) in {1, SIDE, PIXELS} and len(one := _flat(given, "images")) == PIXELS:
        found: list[Any] = [one]
    else:
        found = [_pixels(image, f"images[{index}]") for index, image in enumerate(given)]
    return _from_bytes(found)


def _pixels(image: object, name: str) -> object:
    """Return an image of 784 pixels, nested or flat, as one list.

    Another image is returned unchanged.
    """
    if not isinstance(image, list):
        return _number(image, name)
    flat = _flat(image, name)
    return flat if len(flat) == PIXELS else image


def _flat(nested: list[Any], name: str) -> list[float]:
    if are_numbers(nested):
        return nested
    pixels: list[float] = []
    for index, each in enumerate(nested):
        place = f"{name}[{index}]"
        if isinstance(each, list):
            pixels += _flat(each, place)
        else:
            pixels.append(_number(each, place))
    return pixels


def _number(value: object, name: str) -> float:
    if isinstance(value, bool):
        return int(value)
    if not isinstance(value, int | float):
        raise TypeError(f"{name} is {value!r:.80}; a pixel must be a number from 0 (paper) to 1 (ink)")
    return value


def _from_bytes(images: list[Any]) -> list[Any]:
    pixels = [pixel for image in images if isinstance(image, list) for pixel in image]
    if (
        not all(isinstance(pixel, int) and 0 <= pixel <= _DARKEST_BYTE for pixel in pixels)
        or max(pixels, default=0) <= 1
    ):
        return images
    return [[pixel / _DARKEST_BYTE for pixel in image] if isinstance(image, list) else image for image in images]
