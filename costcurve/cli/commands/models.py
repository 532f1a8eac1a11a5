"""`model`, `predict`, `confusion` and `mistakes`: uses of a trained network."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from costcurve.cli.arguments import JobArgument
from costcurve.cli.command import ServiceOptions
from costcurve.cli.commands.curves import plot_format, save, wrote
from costcurve.cli.image_files import is_image, pixels_of
from costcurve.cli.inputs import parsed, read
from costcurve.cli.output import tell, write_json, write_line, write_rich
from costcurve.client.images import as_images

_FORMATS: dict[str, Literal["safetensors", "onnx"]] = {".safetensors": "safetensors", ".onnx": "onnx"}

PlotOption = Annotated[Path | None, typer.Option(metavar="FILE", help="Write a plot to this .svg or .png.")]


def model(
    job_id: JobArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The .safetensors or .onnx file to write.")],
    service: ServiceOptions,
) -> None:
    """Write the trained model of a succeeded job to a file."""
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
        str,
        typer.Argument(
            metavar="FILE",
            help="An image file of a digit (PNG, JPEG, …), or images as JSON, each a list of 784 numbers or 28 lists "
            "of 28. Numbers are from 0 (paper) to 1 (ink), or whole from 0 to 255. - means standard input.",
        ),
    ],
    service: ServiceOptions,
) -> None:
    """Read images with the trained network, and print one digit per line."""
    images = _images(file)
    with service.client() as client:
        found = client.predict(job_id, images)
    if service.as_json:
        write_json(found)
    else:
        for digit in found.digits:
            write_line(str(digit))


def confusion(job_id: JobArgument, service: ServiceOptions, plot: PlotOption = None) -> None:
    """Count how each digit of the test images is read."""
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
    for label, counts in zip(found.labels, found.counts, strict=False):
        table.add_row(str(label), *map(str, counts))
    write_rich(table)
    tell(f"{found.correct} of {found.total} test images are read correctly")


def mistakes(job_id: JobArgument, service: ServiceOptions, plot: PlotOption = None) -> None:
    """List the test images that the network reads most wrongly.

    The worst comes first.
    """
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
        outputs = dict(enumerate(each.outputs))
        output = f"{outputs[each.prediction]:.4f}" if each.prediction in outputs else ""
        table.add_row(str(each.image), str(each.label), str(each.prediction), output, f"{each.cost:.3f}")
    write_rich(table)


def _picture(job_id: str, what: Literal["confusion", "mistakes"], file: Path, service: ServiceOptions) -> None:
    file_format = plot_format(file)
    with service.client() as client:
        picture = client.model_plot(job_id, what, format=file_format)
    save(picture, file)
    wrote(file, service)


def _images(file: str) -> Any:
    """Return the images in a file, or in standard input.

    Raises:
        CostCurveError: the file cannot be read.
        typer.BadParameter: it holds no images.
    """
    content = read(file)
    if is_image(content):
        return [pixels_of(content, file)]
    try:
        found = parsed(content)
        return as_images(found["images"] if isinstance(found, dict) else found)
    except (ValueError, TypeError, KeyError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise typer.BadParameter(
            f"{file}: {reason}. It must hold images as JSON, each a list of 784 numbers or 28 lists of 28, or be an "
            "image file such as a PNG",
            param_hint="FILE",
        ) from error
