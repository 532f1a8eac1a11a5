"""Single requests to services on this machine, each on a connection of its own.

`httpx.get` and its like read all trusted certificates for each request: 50 ms of CPU, in tests that poll.
"""

import httpx

_CLIENT = httpx.Client(verify=False, limits=httpx.Limits(max_keepalive_connections=0))  # noqa: S501 - no TLS

request = _CLIENT.request
get = _CLIENT.get
post = _CLIENT.post
