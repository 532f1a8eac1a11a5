"""MNIST in a folder on this machine, under its usual file names.

A file is recognised by its name, anywhere in the folder, and used only if its bytes have the right SHA-256. So a copy
made by another program works as it is, and another data set with the same names is refused.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.training.datasets.download import IDX_FILES, IdxFile, IdxFiles, SourceFailed

# Levels of subfolders that are searched: two for torchvision's MNIST/raw/.
_LEVELS = 2
# Most entries of a folder that are examined: a user may name their home folder.
_MOST_ENTRIES = 20_000
# Most names that a message lists.
_MOST_LISTED = 8


class NothingThere(SourceFailed):
    """A folder without any of the four files, such as every new cache."""


@dataclass(frozen=True)
class _Entry:
    path: Path
    level: int
    is_folder: bool


def read_folder(folder: Path) -> IdxFiles:
    """Return the four files of a folder, checked, by their usual names.

    Each may be plain or .gz, be written with other punctuation (`train-images.idx3-ubyte`), and lie up to two folders
    below. If several files have a matching name, the first with the right bytes is used.

    Raises:
        NothingThere: no file has one of the names.
        SourceFailed: a file is missing, or none of its name has the right bytes; the text says what was expected and
            what was found.
    """
    try:
        entries = list(_walk(folder))
    except FileNotFoundError as error:
        raise NothingThere(f"{folder} does not exist") from error
    except OSError as error:
        raise SourceFailed(f"cannot be read ({error})") from error
    files = [entry for entry in entries if entry.path.is_file()]  # reading a pipe would block
    candidates = {file.name: _candidates(file, files) for file in IDX_FILES}
    if not any(candidates.values()):
        raise NothingThere(f"the folder holds none of the four idx files; {_listed(folder, entries)}")
    return {file.name: _first_right(file, candidates, folder, entries) for file in IDX_FILES}


def _walk(folder: Path) -> Iterator[_Entry]:
    """Yield the entries of the folder and up to _LEVELS below, nearest first.

    It stops after _MOST_ENTRIES entries.
    """
    waiting, seen = [(folder, 0)], 0
    while waiting:
        here, level = waiting.pop(0)
        try:
            found = sorted(here.iterdir())
        except OSError:
            if here == folder:
                raise
            continue  # a subfolder that this process may not read cannot serve MNIST
        for path in found:
            seen += 1
            if seen > _MOST_ENTRIES:
                return
            is_folder = path.is_dir()
            yield _Entry(path, level, is_folder)
            if is_folder and level < _LEVELS:
                waiting.append((path, level + 1))


def _candidates(file: IdxFile, files: Sequence[_Entry]) -> list[Path]:
    """Return the files that match this one's name, nearest first, plain before .gz."""
    wanted = _letters(file.name)
    found = [
        (entry.level, is_packed, entry.path)
        for entry in files
        for is_packed in (False, True)
        if _letters(entry.path.name) == wanted + ("gz" if is_packed else "")
    ]
    return [path for _, _, path in sorted(found)]


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _first_right(
    file: IdxFile, candidates: Mapping[str, Sequence[Path]], folder: Path, entries: Sequence[_Entry]
) -> bytes:
    reasons = []
    for path in candidates[file.name]:
        try:
            return _read(file, path)
        except OSError as error:
            reasons.append(f"cannot be read ({error})")
        except SourceFailed as failure:
            where = "" if path.parent == folder else f" in {str(path.parent)!r}"
            reasons.append(f"{failure}{where}")
    if reasons:
        raise SourceFailed("; ".join(reasons))
    raise SourceFailed(f"{file.name} is missing (and so is {file.name}.gz); {_listed(folder, entries)}")


def _read(file: IdxFile, path: Path) -> bytes:
    is_packed = path.suffix.lower() == ".gz"
    with path.open("rb") as stream:
        if is_packed:
            return file.checked(file.gunzipped(stream.read(file.most_compressed_bytes + 1)))
        return file.checked(stream.read(file.size + 1))


def _listed(folder: Path, entries: Sequence[_Entry]) -> str:
    """Return a text that lists the contents of a folder.

    A name is untrusted text, so its special characters are escaped.
    """
    names = [
        f"{str(entry.path.relative_to(folder))!r}{' (a folder)' if entry.is_folder else ''}"
        for entry in entries[:_MOST_LISTED]
    ]
    more = f" and {len(entries) - len(names):,} more" if len(entries) > len(names) else ""
    return f"it holds {', '.join(names)}{more}" if names else "it is empty"
