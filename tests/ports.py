"""Ports for servers that tests start as processes."""

import contextlib
import random
import socket

#: Below those that systems give to connections, one of which could take a port before its server does.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    # Not the shared generator, which property-based tests seed.
    choice = random.SystemRandom()
    while True:
        port = choice.choice(_PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
