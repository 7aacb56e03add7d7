"""`touchstone up`: check, migrate, then keep Redis, web, worker and scheduler running until Ctrl-C."""

import fcntl
import os
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app import vendor
from app.accounts import service as accounts
from app.accounts.models import Role
from app.core import embedded_redis, sealing
from app.core.config import LogFormat, Settings
from app.core.db import writing
from app.core.errors import NotFound
from app.core.logs import as_json_line
from app.core.migrate import migrate_database
from app.core.queue import Queue
from app.processes import has_trainers, scheduler_command, worker_command
from app.projects import service as projects
from app.serving import CannotStart, is_touchstone, listen
from app.starter.load import load_starter
from app.supervisor import Child, Supervisor

FIRST_ADMIN = "admin@localhost"


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


def children(settings: Settings, listener: socket.socket) -> list[Child]:
    """What `up` keeps running, in the order of starting; the pages come up before the trainers are loaded."""
    environment = {"TOUCHSTONE_STATE_DIR": str(settings.state_dir), "PYTHONUNBUFFERED": "1"}
    descriptor = listener.fileno()
    web = Child(
        "web",
        (sys.executable, "-m", "app.serving", str(descriptor)),
        environment,
        is_ready=lambda: is_touchstone(settings.host, settings.port),
        pass_fds=(descriptor,),
    )
    if settings.metrics_token is not None:
        web = replace(web, env={**environment, "PROMETHEUS_MULTIPROC_DIR": str(_empty_folder(settings.state_dir))})
    more = [replace(web, name=f"web-{number}") for number in range(2, settings.web_processes + 1)]
    importer = Child("importer", worker_command(Queue.imports), environment, nice=5)
    found = [web, *more, Child("scheduler", scheduler_command(), environment), importer]
    if has_trainers():
        found.append(Child("worker", worker_command(), environment, nice=5))
    return found if settings.redis_url else [_redis(settings), *found]


def _empty_folder(state: Path) -> Path:
    """Where the web processes add up what they count; counting begins anew with them."""
    folder = state / "metrics"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _redis(settings: Settings) -> Child:
    path, log = settings.redis_socket, settings.state_dir / "redis.log"
    return Child(
        "redis",
        embedded_redis.server_command(path, log),
        is_ready=lambda: embedded_redis.answers(path),
        outlives_others=True,
        log=log,
    )


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
    if link and settings.log_format is LogFormat.json:  # logs are kept and read by others: no way in stands there
        lines.append(f"No admin can sign in yet: `touchstone user link {FIRST_ADMIN}` prints a sign-in link.")
    elif link:
        lines.append(f"Sign in as the first admin (this link works once): {settings.address}{link}")
    if not has_trainers():
        lines.append("No worker here: runs wait for one. `make run`, or pip's extra `train`, installs what it needs.")
    return "\n".join([*lines, "Ctrl-C stops everything.", ""])


def up(settings: Settings, say: Callable[[str], None]) -> None:
    """Run all of Touchstone on this machine until a signal stops it."""
    is_json, typed = settings.log_format is LogFormat.json, say
    show = as_json_line if is_json else None
    if is_json:
        say = lambda line: typed(as_json_line("up", line))  # noqa: E731
    with claim_state_folder(settings.state_dir), listen(settings.host, settings.port) as listener:
        if missing := vendor.missing_files():
            raise CannotStart(
                f"The front-end libraries are not installed: {', '.join(missing)}.", mend="Run `python -m app.vendor`."
            )
        sealing.keys()  # one that is no secret is refused here, and not by each process
        link = prepare()
        listener.set_inheritable(True)

        def tell(name: str) -> None:
            if name == "web":
                say(banner(settings, link))

        Supervisor(children(settings, listener), say=say, on_ready=tell, show=show).run()
        say("Everything is stopped.")
