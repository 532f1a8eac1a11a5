"""Sockets that a service listens on."""

import socket


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at this address; port 0 is any free one. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # A host name may have IPv4 and IPv6 addresses; most clients try 127.0.0.1.
    family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    listener = socket.create_server(address[:2], family=family, backlog=2048)
    # Accepted connections inherit TCP_NODELAY. A server that gets a descriptor does not always set it; then each
    # response waits 40 ms for an acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
