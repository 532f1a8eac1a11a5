"""Data sets: shape, classes, split and files. `workers/training/datasets/` finds, downloads and loads them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DataFile:
    """A file of a data set: its name, size in bytes and SHA-256.

    Size and SHA-256 are those of the uncompressed file.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Dataset:
    """Images of some classes, split into three parts.

    `height` and `width` are in pixels, of one byte each. The sizes are numbers of images.
    """

    name: str
    height: int
    width: int
    classes: int
    training_size: int
    validation_size: int
    test_size: int
    files: tuple[DataFile, ...]

    @property
    def pixels(self) -> int:
        """Number of pixels of one image."""
        return self.height * self.width

    @property
    def size(self) -> int:
        """Number of images of all three parts."""
        return self.training_size + self.validation_size + self.test_size


MNIST = Dataset(
    "mnist",
    height=28,
    width=28,
    classes=10,
    # The split of TensorFlow's tutorial loader.
    training_size=55_000,
    validation_size=5_000,
    test_size=10_000,
    # Labels first: they are small, so a mirror that serves wrong files is noticed before megabytes are fetched from it.
    files=(
        DataFile("train-labels-idx1-ubyte", 60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
        DataFile("t10k-labels-idx1-ubyte", 10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
        DataFile(
            "train-images-idx3-ubyte", 47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
        ),
        DataFile(
            "t10k-images-idx3-ubyte", 7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
        ),
    ),
)
