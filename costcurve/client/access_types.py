"""Types of the client's answers about keys."""

from costcurve.client.types import Answer


class Caller(Answer):
    """Project and key of a client.

    `key_id` is None if the service requires no keys.
    """

    project: str
    key_id: str | None = None
    key_name: str
    scopes: list[str]
