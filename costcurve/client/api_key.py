"""API keys of the client: from an argument, from COSTCURVE_API_KEY, or from the file that `costcurve login` writes."""

import json
import os
import re
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import platformdirs

from costcurve.client.errors import CostCurveError

VARIABLE = "COSTCURVE_API_KEY"
# Visible ASCII characters: more would not fit into a header.
_ALLOWED = re.compile(r"[!-~]{1,200}")


class ApiKey:
    """Secret key of a client. Its value is in no text that is made of it."""

    __slots__ = ("_secret",)

    def __init__(self, secret: str) -> None:
        """Check a key.

        Raises:
            TypeError: it is not text.
            ValueError: it has characters that no key has. The text does not repeat it.
        """
        if not isinstance(secret, str):
            raise TypeError(f"api_key must be text, not {type(secret).__name__}")
        if not _ALLOWED.fullmatch(secret):
            raise ValueError("api_key is not a key: it must be 1 to 200 visible ASCII characters, without spaces")
        self._secret = secret

    @classmethod
    def found(cls, given: str | None, url: str) -> Self | None:
        """Return the given key, that in COSTCURVE_API_KEY, or the one that is stored for the service at `url`.

        The first that there is counts. An empty text as `given` means no key.

        Raises:
            CostCurveError: the file of the stored keys cannot be used.
            TypeError, ValueError: the key is none.
        """
        if given is not None:
            return cls(given) if given != "" else None
        if from_environment := os.environ.get(VARIABLE):
            return cls(from_environment)
        stored = _read(keys_file()).get(url)
        return None if stored is None else cls(stored)

    @property
    def headers(self) -> dict[str, str]:
        """Authorization header with the key."""
        return {"Authorization": f"Bearer {self._secret}"}

    def store(self, url: str) -> Path:
        """Store the key for the service at `url`, for this user's later clients; return the file.

        Raises CostCurveError.
        """
        file = keys_file()
        _write(file, {**_read(file), url: self._secret})
        return file

    def __repr__(self) -> str:
        return "ApiKey(***)"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._secret,)


def keys_file() -> Path:
    """Return the file of the stored keys, such as ~/.config/costcurve/keys.json."""
    return platformdirs.user_config_path("costcurve") / "keys.json"


def remove_stored(url: str) -> bool:
    """Remove the key that is stored for the service at `url`; return False if there is none. Raises CostCurveError."""
    file = keys_file()
    keys = _read(file)
    if keys.pop(url, None) is None:
        return False
    _write(file, keys)
    return True


def _read(file: Path) -> dict[str, str]:
    """Return the stored keys by the URL of their service. Raises CostCurveError."""
    try:
        with file.open(encoding="utf-8") as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise CostCurveError(
                    f"other users of this machine may read the keys in {file} (mode {mode:04o}); "
                    f"run: chmod 600 {file}, and have the keys revoked if others had access"
                )
            keys = json.load(opened)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CostCurveError(f"cannot read the keys in {file}: {error.strerror}") from error
    except ValueError as error:
        raise CostCurveError(
            f"the file of the keys, {file}, is not JSON; remove it, and run: costcurve login"
        ) from error
    if not isinstance(keys, dict) or not all(isinstance(each, str) for each in keys.values()):
        raise CostCurveError(f"the file of the keys, {file}, is not an object of URLs and keys")
    return keys


def _write(file: Path, keys: dict[str, str]) -> None:
    """Replace the file, with mode 0600 from its beginning."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=file.parent, prefix=".keys-")  # mode 0600
        try:
            with os.fdopen(number, "w", encoding="utf-8") as opened:
                json.dump(keys, opened, indent=2)
                opened.flush()
                os.fsync(opened.fileno())
            Path(name).replace(file)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise CostCurveError(f"cannot write the keys to {file}: {error.strerror}") from error
