"""Ports for what a test starts."""

import itertools
import os
import random
import socket

# Below what Linux gives to outgoing connections, any of which could take a port between the asking and the listening,
# and each worker of xdist in a part of its own.
FIRST, EACH, PARTS = 20_000, 700, 16
_part = FIRST + EACH * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % PARTS)
_turns = itertools.count(random.randrange(EACH))


def free_port() -> int:
    """A port of this machine that nothing listens on, another one with each call."""
    for turn in itertools.islice(_turns, EACH):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", _part + turn % EACH))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError(f"Something listens on each port from {_part} to {_part + EACH - 1}.")
