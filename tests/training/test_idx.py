"""What is done with bytes that came from elsewhere: unpacked within bounds, unpickled as arrays or not at all."""

import contextlib
import gzip
import io
import os
import pickle
import tracemalloc
from collections import OrderedDict
from fractions import Fraction

import numpy as np
import pytest

from workers.training.datasets.download import IdxFile, SourceFailed, read_arrays

LABELS = IdxFile("labels", size=5, sha256="74f81fe167d99b4cb41d6d0ccda82278caee9f3e2f25d5e5a3936ff3dcec60d0")


def unpickled(value, protocol=2):
    return read_arrays(io.BytesIO(pickle.dumps(value, protocol)))


def test_a_sound_file_is_unpacked_and_accepted():
    assert LABELS.checked(LABELS.gunzipped(gzip.compress(b"\1\2\3\4\5"))) == b"\1\2\3\4\5"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\1\2\3\4", "holds 4 bytes; it should hold 5"),
        (b"\1\2\3\4\5\6", "holds more than 5 bytes"),
        (b"\1\2\3\4\6", "its SHA-256 is"),
    ],
)
def test_bytes_that_are_not_the_file_are_refused(data, reason):
    with pytest.raises(SourceFailed, match=reason):
        LABELS.checked(data)


@pytest.mark.parametrize("kept", range(len(gzip.compress(b"\1\2\3\4\5"))))
def test_a_gz_cut_off_anywhere_is_refused(kept):
    with pytest.raises(SourceFailed, match="cut off"):
        LABELS.gunzipped(gzip.compress(b"\1\2\3\4\5")[:kept])


@pytest.mark.parametrize("place", range(len(gzip.compress(b"\1\2\3\4\5"))))
def test_a_gz_with_one_wrong_byte_is_refused_or_still_unpacks_to_the_file(place):
    # A gzip header has bytes that change nothing, such as the time of packing.
    packed = bytearray(gzip.compress(b"\1\2\3\4\5"))
    packed[place] ^= 0xFF
    with contextlib.suppress(SourceFailed):
        assert LABELS.checked(LABELS.gunzipped(packed)) == b"\1\2\3\4\5"


@pytest.mark.parametrize("behind", [b"", bytes(512), b"signed by somebody"])
def test_a_gz_of_several_members_is_unpacked_as_one_file_and_padding_is_ignored(behind):
    packed = b"".join(map(gzip.compress, (b"\1\2", b"", b"\3\4\5")))
    assert LABELS.gunzipped(packed + behind) == b"\1\2\3\4\5"


def test_a_second_member_is_bounded_and_may_not_be_cut_off():
    first = gzip.compress(b"\1\2\3\4\5")
    with pytest.raises(SourceFailed, match="unpacks to more than the 5 bytes"):
        LABELS.gunzipped(first + gzip.compress(b"\6"))
    with pytest.raises(SourceFailed, match="cut off"):
        LABELS.gunzipped(gzip.compress(b"\1") + gzip.compress(b"\2\3\4\5")[:-1])


def test_a_gzip_bomb_is_refused_without_being_unpacked():
    bomb = gzip.compress(bytes(50_000_000), compresslevel=1)
    tracemalloc.start()
    try:
        with pytest.raises(SourceFailed, match="unpacks to more than the 5 bytes"):
            LABELS.gunzipped(bomb)
        assert tracemalloc.get_traced_memory()[1] < len(bomb) + 100_000
    finally:
        tracemalloc.stop()


def test_arrays_come_back_from_a_pickle_of_an_older_numpy():
    written_by_python_2 = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85cnumpy\ndtype\n"
        b"U\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08\x00\x00\x80?\x00\x00\x00@tb."
    )
    np.testing.assert_array_equal(read_arrays(io.BytesIO(written_by_python_2)), np.array([1, 2], np.float32))


def test_a_pickle_that_runs_a_command_is_refused_before_it_runs(tmp_path):
    class RunsACommand:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/was-here",)

    with pytest.raises(SourceFailed, match=r"asks for (posix|nt)\.system"):
        unpickled((np.ones(3).tolist(), RunsACommand()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("value", [eval, getattr, OrderedDict(a=1), Fraction(1, 3), np.load, np.lib.format.open_memmap])
def test_a_pickle_with_anything_but_arrays_is_refused(value, protocol):
    with pytest.raises(SourceFailed, match="not part of a numpy array"):
        unpickled([value], protocol)
