"""Row numbers inside cursors, hidden from the clients that hold them.

Numbers of jobs and sweeps count those of all projects, so a client must not read them. A cursor holds a number that
was permuted with a secret of the project: a Feistel network of four rounds over 128 bits, the number and 64 zeros.
"""

from hashlib import blake2s

_HALF = 8  # bytes
_ROUNDS = 4


def hidden(number: int, secret: bytes) -> str:
    """Return a number of up to 63 bits as 32 hexadecimal digits."""
    left, right = number, 0
    for turn in range(_ROUNDS):
        left, right = right, left ^ _mixed(right, turn, secret)
    return f"{left:016x}{right:016x}"


def revealed(text: str, secret: bytes) -> int | None:
    """Return the number that was hidden with this secret; None if none was."""
    left, right = int(text[: 2 * _HALF], 16), int(text[2 * _HALF :], 16)
    for turn in reversed(range(_ROUNDS)):
        left, right = right ^ _mixed(left, turn, secret), left
    return left if right == 0 and left < 2**63 else None


def _mixed(half: int, turn: int, secret: bytes) -> int:
    digest = blake2s(half.to_bytes(_HALF, "big"), digest_size=_HALF, key=secret, person=bytes([turn]))
    return int.from_bytes(digest.digest(), "big")
