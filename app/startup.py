"""`touchstone up`: check, migrate, then keep Redis, web, worker and scheduler running until Ctrl-C."""

import errno
import fcntl
import http.client
import importlib.util
import ipaddress
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app import vendor
from app.accounts import service as accounts
from app.accounts.models import Role
from app.core import embedded_redis
from app.core.config import Settings
from app.core.db import writing
from app.core.errors import DomainError, NotFound
from app.core.migrate import migrate_database
from app.projects import service as projects
from app.starter.load import load_starter
from app.supervisor import Child, Supervisor

FIRST_ADMIN = "admin@localhost"
BACKLOG = 512


class CannotStart(DomainError):
    title = "Touchstone cannot start"


def claim_state_folder(folder: Path) -> IO[str]:
    """Lock the state folder for this process: two sets of processes on one folder would fight over it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)  # accounts and labels are nobody else's to read
        lock = (folder / "touchstone.lock").open("a+")
    except OSError as error:
        raise CannotStart(
            f"The state folder {folder} cannot be written: {error.strerror}.",
            mend="Give yourself the folder, or set TOUCHSTONE_STATE_DIR to another one.",
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        owner = lock.read().strip()
        lock.close()
        raise CannotStart(
            f"Touchstone already runs on {folder} (process {owner}).",
            mend="Stop it there with Ctrl-C, or set TOUCHSTONE_STATE_DIR to another folder.",
        ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


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


def _touchstone(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "app.cli", *arguments)


def _redis(settings: Settings) -> Child:
    path, log = settings.redis_socket, settings.state_dir / "redis.log"
    return Child(
        "redis",
        embedded_redis.server_command(path, log),
        is_ready=lambda: embedded_redis.answers(path),
        outlives_others=True,
        log=log,
    )


def has_trainers() -> bool:
    """Whether the `train` extra is here; a machine may run the web alone."""
    return importlib.util.find_spec("torch") is not None


def children(settings: Settings, listener: socket.socket) -> list[Child]:
    """What `up` keeps running, in the order of starting; the pages come up before the trainers are loaded."""
    environment = {"TOUCHSTONE_STATE_DIR": str(settings.state_dir), "PYTHONUNBUFFERED": "1"}
    descriptor = listener.fileno()
    web = Child(
        "web",
        _touchstone("web", "--fd", str(descriptor)),
        environment,
        is_ready=lambda: is_touchstone(settings.host, settings.port),
        pass_fds=(descriptor,),
    )
    found = [web, Child("scheduler", _touchstone("scheduler"), environment)]
    if has_trainers():
        found.append(Child("worker", _touchstone("worker"), environment, nice=5))
    return found if settings.redis_url else [_redis(settings), *found]


def prepare() -> str | None:
    """Bring the database up to date, with a first project in it.

    Returns the first admin's sign-in path while no admin has a password.
    """
    try:
        migrate_database()
        with writing() as session:
            if not projects.count_projects(session):
                load_starter(session)
            return _first_admin_link(session)
    except SQLAlchemyError as error:
        raise CannotStart(
            f"The database does not answer: {str(error).splitlines()[0]}",
            mend="`touchstone doctor` looks closer; TOUCHSTONE_DATABASE_URL says which database is meant.",
        ) from error


def _first_admin_link(session: Session) -> str | None:
    if accounts.has_admin(session):
        return None
    try:
        admin = accounts.person_by_email(session, FIRST_ADMIN)
    except NotFound:
        admin = accounts.add_person(session, FIRST_ADMIN, name="First admin", role=Role.admin)
    return accounts.new_sign_in_link(session, admin)


def banner(settings: Settings, link: str | None) -> str:
    """What a person needs to know once the pages are up."""
    lines = ["", f"Touchstone is at {settings.address}"]
    if link:
        lines.append(f"Sign in as the first admin (this link works once): {settings.address}{link}")
    if not has_trainers():
        lines.append("No worker here: runs wait for one. `make run`, or pip's extra `train`, installs what it needs.")
    return "\n".join([*lines, "Ctrl-C stops everything.", ""])


def up(settings: Settings, say: Callable[[str], None]) -> None:
    """Run all of Touchstone on this machine until a signal stops it."""
    with claim_state_folder(settings.state_dir), listen(settings.host, settings.port) as listener:
        if missing := vendor.missing_files():
            raise CannotStart(
                f"The front-end libraries are not installed: {', '.join(missing)}.", mend="Run `python -m app.vendor`."
            )
        link = prepare()
        listener.set_inheritable(True)

        def tell(name: str) -> None:
            if name == "web":
                say(banner(settings, link))

        Supervisor(children(settings, listener), say=say, on_ready=tell).run()
        say("Everything is stopped.")


def serve(settings: Settings, descriptor: int | None) -> None:
    """Run the web process, on a listening socket inherited from `up` or on one of its own."""
    import uvicorn

    listener = listen(settings.host, settings.port) if descriptor is None else socket.socket(fileno=descriptor)
    config = uvicorn.Config(
        "app.main:create_app",
        factory=True,
        log_level="warning",
        proxy_headers=settings.public_url is not None,
        timeout_graceful_shutdown=5,
    )
    with listener:
        uvicorn.Server(config).run(sockets=[listener])


def run_worker() -> None:
    """Become the Celery worker: one process, one job at a time, for one device."""
    if not has_trainers():
        raise CannotStart(
            "A worker needs the trainers' packages, and torch is not installed.",
            mend="Run `pip install -c constraints.txt -e '.[train]'`.",
        )
    _become_celery("worker", "--pool", "solo", "--without-gossip", "--without-mingle", "--loglevel", "WARNING")


def run_scheduler(settings: Settings) -> None:
    """Become Celery's beat, which looks for stale and lost runs."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    _become_celery("beat", "--schedule", str(settings.state_dir / "schedule"), "--pidfile", "", "--loglevel", "WARNING")


def _become_celery(*arguments: str) -> None:
    """A first try on a fresh machine is often made as root; Celery's warning about it would hide the address."""
    quiet = ("-W", "ignore:You're running the worker with superuser privileges")
    command = [sys.executable, *quiet, "-m", "celery", "-A", "workers.celery_app", "-q", *arguments]
    os.execv(sys.executable, command)  # noqa: S606
