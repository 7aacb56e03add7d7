"""`touchstone doctor`: what is wrong with the set-up, and how to mend it."""

import importlib.metadata
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from sqlalchemy import URL, func, make_url, select
from sqlalchemy.exc import SQLAlchemyError

from app import serving, vendor
from app.core import sealing
from app.core.clock import now
from app.core.config import Settings, WrongSettings
from app.core.db import make_engine
from app.core.migrate import current_revision, newest_revision
from app.core.storage import Artefacts
from app.doctor_queue import broker, redis_server
from app.findings import Check, Finding, State

OLDEST_PYTHON = (3, 11)
LITTLE_SPACE, NO_SPACE = 5 * 2**30, 2**28
CLOCKS_APART = 5.0  # seconds; a worker that is silent for 30 is taken for dead
CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
TRAINERS = ("torch", "transformers", "accelerate", "peft", "safetensors", "datasets", "gguf")


def examine(settings: Settings, *, without: Sequence[Check] = ()) -> list[Finding]:
    """Look at everything, in the order in which things are mended."""
    return [check(settings) for check in CHECKS if check not in without]


def is_wrong(findings: list[Finding]) -> bool:
    return any(finding.state == State.wrong for finding in findings)


def report(findings: list[Finding]) -> str:
    """The findings as lines for a terminal."""
    return "\n".join(_lines(findings))


def _lines(findings: list[Finding]) -> Iterator[str]:
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        yield f"{finding.state:<5}  {finding.name:<{width}}  {finding.found}"
        if finding.mend:
            yield f"{'':<{width + 9}}→ {finding.mend}"
    wrong = sum(finding.state == State.wrong for finding in findings)
    yield "Everything needed is here." if not wrong else f"{wrong} to mend."


def python(_: Settings) -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info < OLDEST_PYTHON:
        return Finding("Python", State.wrong, version, "Install Python 3.11 or newer, then run `make run` again.")
    return Finding("Python", State.ok, f"{version} in {sys.prefix}")


def packages(_: Settings) -> Finding:
    """Whether every package of the web is here, at the version the project was tested with."""
    name, pins = "Packages", _pins()
    required = [line for line in importlib.metadata.requires("touchstone") or [] if "extra ==" not in line]
    versions = {package: _version(package) for package in map(_bare_name, required)}
    mend = "Run `pip install -c constraints.txt -e .`, or `make run`, which does it."
    if missing := sorted(package for package, version in versions.items() if version is None):
        return Finding(name, State.wrong, f"not installed: {', '.join(missing)}", mend)
    other = sorted(f"{p} {v}" for p, v in versions.items() if pins.get(p, v) != v)
    if other:
        return Finding(name, State.note, f"not the tested versions: {', '.join(other)}", mend)
    return Finding(name, State.ok, f"{len(versions)} and what they need")


def trainers(_: Settings) -> Finding:
    name, missing = "Trainers", [package for package in TRAINERS if _version(package) is None]
    if missing:
        mend = "A machine with a worker needs `pip install -c constraints.txt -e '.[train]'`."
        return Finding(name, State.note, f"not installed: {', '.join(missing)}", mend)
    return Finding(name, State.ok, f"torch {_version('torch')}, transformers {_version('transformers')}")


def front_end(_: Settings) -> Finding:
    name, mend = "Front end", "Run `python -m app.vendor`."
    if missing := vendor.missing_files():
        return Finding(name, State.wrong, f"not installed: {', '.join(missing)}", mend)
    if not vendor.is_current():
        return Finding(name, State.note, "not the versions of package-lock.json", mend)
    return Finding(name, State.ok, "the libraries of package-lock.json")


def state_folder(settings: Settings) -> Finding:
    """Whether the state folder can be written and is kept from others: it holds the accounts and all labels."""
    name, folder = "State folder", settings.state_dir
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        mend = "Give yourself the folder, or set TOUCHSTONE_STATE_DIR to another one."
        return Finding(name, State.wrong, f"{nearest} cannot be written", mend)
    if nearest == folder and folder.stat().st_mode & 0o077:
        return Finding(name, State.note, f"{folder} can be read by others", f"Run `chmod 700 {folder}`.")
    return Finding(name, State.ok, f"{folder}" if nearest == folder else f"{folder}, made at the first start")


def settings_file(_: Settings) -> Finding:
    name, file = "Settings file", Path(".env")
    if file.is_file() and file.stat().st_mode & 0o077:
        mend = f"It may hold passwords: run `chmod 600 {file.resolve()}`."
        return Finding(name, State.wrong, f"{file.resolve()} can be read by others", mend)
    return Finding(name, State.ok, str(file.resolve()) if file.is_file() else "none; the environment decides")


def secret_key(settings: Settings) -> Finding:
    """Whether the key that seals secrets is one, and the same for all machines."""
    name, file = "Secret key", settings.state_dir / sealing.FILE
    if settings.secret_key is not None:
        return Finding(name, State.ok, "TOUCHSTONE_SECRET_KEY")
    try:
        found = f"{file}" if file.exists() and sealing.read_keys(file) else f"{file}, made at the first start"
    except WrongSettings as error:
        return Finding(name, State.wrong, error.message, error.mend)
    if settings.database.startswith("sqlite"):
        return Finding(name, State.ok, found)
    mend = "Where the state folder is not shared by all machines, give all of them one TOUCHSTONE_SECRET_KEY."
    return Finding(name, State.note, found, mend)


def disk(settings: Settings) -> Finding:
    nearest = next(path for path in (settings.state_dir, *settings.state_dir.parents) if path.exists())
    free = shutil.disk_usage(nearest).free
    found, mend = f"{free / 2**30:.1f} GiB free", "Free some space, or set TOUCHSTONE_STATE_DIR to a larger disk."
    if free < NO_SPACE:
        return Finding("Disk", State.wrong, found, mend)
    return Finding("Disk", State.note, found, mend) if free < LITTLE_SPACE else Finding("Disk", State.ok, found)


def port(settings: Settings) -> Finding:
    name, where = "Port", f"{settings.port} on {settings.host}"
    if serving.is_touchstone(settings.host, settings.port):
        return Finding(name, State.ok, f"{where}: Touchstone answers")
    try:
        serving.listen(settings.host, settings.port).close()
    except serving.CannotStart as error:
        return Finding(name, State.wrong, error.message, error.mend)
    return Finding(name, State.ok, f"{where} is free")


def database(settings: Settings) -> Finding:
    """Whether the database answers and has this version's tables."""
    name, mend = "Database", "See that it runs, and that TOUCHSTONE_DATABASE_URL names it with the right password."
    try:
        url = make_url(settings.database)
        shown = url.render_as_string(hide_password=True)
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
            return Finding(name, State.ok, f"{shown}, made at the first start")
        is_at, newest = _revision(url), newest_revision()
    except (SQLAlchemyError, ImportError) as error:
        return Finding(name, State.wrong, f"does not answer: {str(error).strip().splitlines()[0]}", mend)
    if is_at != newest:
        found = f"{shown} is at {is_at or 'no revision'}, this version needs {newest}"
        return Finding(name, State.wrong, found, "Make a backup, then run `touchstone migrate`.")
    return Finding(name, State.ok, f"{shown}, at {newest}")


def clock(settings: Settings) -> Finding:
    """Whether this machine's clock agrees with the database's, which can be that of another."""
    try:
        off = _seconds_off(make_url(settings.database))
    except (SQLAlchemyError, ImportError):
        return Finding("Clock", State.note, "cannot be compared: the database does not answer")
    found = f"{abs(off):.1f} s {'ahead of' if off > 0 else 'behind'} the database's"
    if abs(off) <= CLOCKS_APART:
        return Finding("Clock", State.ok, found)
    mend = "Let chronyd or systemd-timesyncd set each machine's clock: a worker whose clock is off looks silent."
    return Finding("Clock", State.wrong, found, mend)


def _seconds_off(url: URL) -> float:
    if url.get_backend_name() == "sqlite":
        return 0.0
    engine = make_engine(url.render_as_string(hide_password=False))
    try:
        with engine.connect() as connection:
            off: timedelta = now() - connection.execute(select(func.clock_timestamp())).scalar_one()
            return off.total_seconds()
    finally:
        engine.dispose()


def _revision(url: URL) -> str | None:
    if url.get_backend_name() == "postgresql":
        url = url.update_query_dict({"connect_timeout": "3"})
    engine = make_engine(url.render_as_string(hide_password=False))
    try:
        return current_revision(engine)
    finally:
        engine.dispose()


def artefacts(settings: Settings) -> Finding:
    """Whether the store of models and snapshots can be reached."""
    name, mend = "Artefacts", "See TOUCHSTONE_ARTEFACTS_URL and the credentials of its store."
    try:
        store = Artefacts(settings.artefacts, settings.state_dir / "cache")
        if not store.is_local:
            store.try_writing("doctor.part")
            return Finding(name, State.ok, settings.artefacts)
    except Exception as error:  # each kind of store has its own
        return Finding(name, State.wrong, f"{settings.artefacts}: {error}", getattr(error, "mend", "") or mend)
    root = Path(store.root)
    nearest = next(path for path in (root, *root.parents) if path.exists())
    if not os.access(nearest, os.W_OK):
        return Finding(name, State.wrong, f"{nearest} cannot be written", mend)
    return Finding(name, State.ok, settings.artefacts)


def _pins() -> dict[str, str]:
    lines = CONSTRAINTS.read_text().splitlines() if CONSTRAINTS.is_file() else []
    pairs = (line.split("==") for line in lines if "==" in line)
    return {_plain(name): version.strip() for name, version in pairs}


def _bare_name(requirement: str) -> str:
    return _plain(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0])


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower().strip()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


CHECKS: tuple[Check, ...] = (
    python,
    packages,
    trainers,
    front_end,
    state_folder,
    settings_file,
    secret_key,
    disk,
    database,
    clock,
    redis_server,
    broker,
    artefacts,
    port,
)
