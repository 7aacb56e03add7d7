"""The web process: its listening socket, and serving the pages on it."""

import errno
import gc
import http.client
import ipaddress
import socket
import sys
from contextlib import suppress

import uvicorn

from app.core import sealing
from app.core.config import Settings, get_settings
from app.core.errors import DomainError
from app.core.logs import configure_logs
from app.core.traces import configure_traces

BACKLOG = 512


class CannotStart(DomainError):
    title = "Touchstone cannot start"


def listen(host: str, port: int) -> socket.socket:
    """The web's listening socket. The supervisor keeps it, so that a restart of the web refuses no one."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family)
    except socket.gaierror as error:
        raise CannotStart(
            f"{host!r} is no address of this machine.", mend="Set TOUCHSTONE_HOST to 127.0.0.1 or 0.0.0.0."
        ) from error
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, port, error) from error
    return listener


def _cannot_listen(host: str, port: int, error: OSError) -> CannotStart:
    if error.errno == errno.EADDRINUSE:
        other = _free_port(host)
        return CannotStart(
            f"Port {port} on {host} is already taken by another program.",
            mend=f"Stop that program, or choose another port: `make run PORT={other}`, "
            f"or `TOUCHSTONE_PORT={other} touchstone up`.",
        )
    if error.errno == errno.EACCES:
        return CannotStart(f"Port {port} is kept for the system.", mend="Set TOUCHSTONE_PORT to 1024 or higher.")
    return CannotStart(
        f"Nothing can listen on {host}, port {port}: {error.strerror}.",
        mend="Set TOUCHSTONE_HOST to 127.0.0.1 or 0.0.0.0.",
    )


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        with suppress(OSError):
            probe.bind((host, 0))
        return int(probe.getsockname()[1])


def is_touchstone(host: str, port: int) -> bool:
    """Whether a Touchstone's web process answers there."""
    with suppress(ValueError):
        host = "localhost" if ipaddress.ip_address(host).is_unspecified else host
    connection = http.client.HTTPConnection(host, port, timeout=0.5)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        return answer.status == http.HTTPStatus.OK and b'"ok"' in answer.read(100)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def config_of(settings: Settings, app: str = "app.main:create_app") -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=True,
        http="httptools",  # by name: where it is missing nothing serves more slowly and reads requests otherwise
        log_config=None,
        log_level="warning",
        access_log=False,  # its lines hold whole addresses; ours are app.core.access_log's
        proxy_headers=settings.public_url is not None,
        # Of X-Forwarded-For the last address that is no trusted proxy's counts: what comes before it anybody can write.
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=5,
    )


def serve(settings: Settings, descriptor: int | None) -> None:
    """Run the web process on the listening socket that `up` handed down, or on one of its own."""
    listener = listen(settings.host, settings.port) if descriptor is None else socket.socket(fileno=descriptor)
    configure_logs("web")
    configure_traces("web")
    sealing.keys()  # a key that is no secret is refused before anybody comes
    config = config_of(settings)
    config.load()
    # What the start leaves in memory stays for good: looking through it again and again for garbage took a fifth of
    # every request.
    gc.collect()
    gc.freeze()
    with listener:
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    # As `touchstone web`, for `up`: without the command line's imports the pages are there sooner.
    serve(get_settings(), int(sys.argv[1]))
