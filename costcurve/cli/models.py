"""`model`, `predict`, `confusion` and `mistakes`: what became of a trained network."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from costcurve.cli.arguments import JobArgument
from costcurve.cli.command import ServiceOptions
from costcurve.cli.curves import plot_format, save, wrote
from costcurve.cli.output import tell, write_json, write_line, write_rich
from costcurve.errors import CostCurveError

_FORMATS: dict[str, Literal["safetensors", "onnx"]] = {".safetensors": "safetensors", ".onnx": "onnx"}

PlotOption = Annotated[Path | None, typer.Option(metavar="FILE", help="Write a picture to this .svg or .png.")]


def model(
    job_id: JobArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it: a .safetensors or an .onnx.")],
    service: ServiceOptions,
) -> None:
    """The trained model of a job that has succeeded, as a file."""
    file_format = _FORMATS.get(file.suffix.lower())
    if file_format is None:
        raise typer.BadParameter(f"{file} must end in .safetensors or .onnx", param_hint="FILE")
    with service.client() as client:
        found = client.model(job_id, format=file_format)
    save(found, file)
    wrote(file, service)


def predict(
    job_id: JobArgument,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Images as JSON: a list of lists of 784 numbers, 0 (paper) to 1 (ink). - reads them in.",
        ),
    ],
    service: ServiceOptions,
) -> None:
    """Have the trained network read images: the digit of each, line by line."""
    images = _images(file)
    with service.client() as client:
        found = client.predict(job_id, images)
    if service.as_json:
        write_json(found)
    else:
        for digit in found.digits:
            write_line(str(digit))


def confusion(job_id: JobArgument, service: ServiceOptions, plot: PlotOption = None) -> None:
    """How often each digit of the test images is read as which."""
    if plot is not None:
        _picture(job_id, "confusion", plot, service)
        return
    with service.client() as client:
        found = client.confusion(job_id)
    if service.as_json:
        write_json(found)
        return
    table = Table("DIGIT", *(f"AS {label}" for label in found.labels), box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for label, counts in zip(found.labels, found.counts, strict=True):
        table.add_row(str(label), *map(str, counts))
    write_rich(table)
    tell(f"{found.correct} of {found.total} test images are read correctly")


def mistakes(job_id: JobArgument, service: ServiceOptions, plot: PlotOption = None) -> None:
    """The test images that the trained network reads most wrongly, the worst first."""
    if plot is not None:
        _picture(job_id, "mistakes", plot, service)
        return
    with service.client() as client:
        found = client.mistakes(job_id)
    if service.as_json:
        write_json({"job_id": job_id, "items": [mistake.model_dump(mode="json") for mistake in found]})
        return
    table = Table("IMAGE", "DIGIT", "READ AS", "OUTPUT", "COST", box=None, pad_edge=False)
    for column in table.columns:
        column.justify = "right"
    for each in found:
        output = f"{each.outputs[each.prediction]:.4f}"
        table.add_row(str(each.image), str(each.label), str(each.prediction), output, f"{each.cost:.3f}")
    write_rich(table)


def _picture(job_id: str, what: Literal["confusion", "mistakes"], file: Path, service: ServiceOptions) -> None:
    file_format = plot_format(file)
    with service.client() as client:
        picture = client.model_plot(job_id, what, format=file_format)
    save(picture, file)
    wrote(file, service)


def _images(file: Path) -> list[list[float]]:
    """Images from a file, or from standard input. Raises CostCurveError."""
    try:
        text = sys.stdin.read() if file == Path("-") else file.read_text(encoding="utf-8")
    except OSError as error:
        raise CostCurveError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CostCurveError(f"{file} is not UTF-8") from error
    try:
        found: Any = json.loads(text)
        images = found["images"] if isinstance(found, dict) else found
        return [[float(pixel) for pixel in image] for image in images]
    except (ValueError, TypeError, KeyError) as error:
        raise typer.BadParameter(f"{file} has no list of images, each a list of numbers ({error})") from error
