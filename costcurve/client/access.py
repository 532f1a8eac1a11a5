"""The client's operation on its own key."""

from costcurve.client.access_types import Caller
from costcurve.client.request import Call, as_model
from costcurve.client.transport import Remote, Steps


def me(remote: Remote, /) -> Steps[Caller]:
    """Return the project and the scopes of the client's key."""
    return remote.answer(Call("GET", "/v1/me", as_model(Caller)))
