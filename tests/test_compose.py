"""The containers' file against Compose's own schema, and its commands and settings against real servers."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import redis
import yaml
from sqlalchemy import create_engine, text

from app import tables  # noqa: F401  the metadata must be whole before the first query
from app.core import embedded_redis
from app.core.config import Settings
from app.core.db import make_engine, writing
from tests.app.runs.rows import make_running
from tests.factories import make_project
from tests.ports import free_port

ROOT = Path(__file__).parents[1]
PASSWORD = "correcthorse"  # what .env would hold
WAIT = 60.0
S3 = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"}  # read by its client
OPENTELEMETRY = {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS"}
Service = dict[str, Any]
Start = Callable[..., subprocess.Popen[str]]

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Service] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}


def filled_in(value: str) -> str:
    """`value` as Compose fills it in from an environment that holds the password alone."""

    def fill(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        return {"POSTGRES_PASSWORD": PASSWORD}.get(name) or default

    return re.sub(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*)|:\?[^}]*)\}", fill, value)


def settings_of(service: Service) -> dict[str, str]:
    return {name: filled_in(value) for name, value in service["environment"].items() if value is not None}


def test_file_follows_the_compose_schema() -> None:
    schema = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.validate(COMPOSE, json.loads(schema.read_text()))


def test_the_schema_check_can_fail() -> None:
    schema = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    wrong = {"services": {"web": {"imagge": "touchstone-web"}}}
    with pytest.raises(jsonschema.ValidationError, match="imagge"):
        jsonschema.validate(wrong, json.loads(schema.read_text()))


def test_there_is_every_part_of_an_installation() -> None:
    workers = {"worker": "cpu", "worker-gpu": "gpu", "sampler": "sampling", "sampler-gpu": "sampling-gpu"}
    workers |= {"answerer": "playground", "answerer-gpu": "playground-gpu"}
    assert set(SERVICES) == {"db", "redis", "rabbitmq", "migrate", "web", "scheduler", "importer", "proxy", *workers}
    assert {name: SERVICES[name]["profiles"] for name in workers} == {name: [own] for name, own in workers.items()}
    for name in ("worker-gpu", "sampler-gpu", "answerer-gpu"):
        [device] = SERVICES[name]["deploy"]["resources"]["reservations"]["devices"]
        assert device["capabilities"] == ["gpu"]
    for name in ("sampler", "sampler-gpu"):
        assert SERVICES[name]["command"] == ["touchstone", "worker", "--queue", "sampling"]
    for name in ("answerer", "answerer-gpu"):
        assert SERVICES[name]["command"] == ["touchstone", "worker", "--queue", "playground"]


def test_the_proxy_is_there_on_request_and_keeps_its_certificates() -> None:
    proxy = SERVICES["proxy"]
    assert proxy["profiles"] == ["tls"]
    assert [filled_in(word) for word in proxy["command"]] == [
        "caddy", "reverse-proxy", "--from", "localhost", "--to", "web:8000",
    ]  # fmt: skip
    assert {"80:80", "443:443"} <= set(proxy["ports"])
    assert proxy["volumes"] == ["certificates:/data"]
    assert "certificates" in COMPOSE["volumes"]


def test_rabbitmq_is_there_on_request_and_lets_nobody_in_by_a_known_password() -> None:
    rabbitmq = SERVICES["rabbitmq"]
    assert rabbitmq["profiles"] == ["rabbitmq"]
    assert rabbitmq["environment"]["RABBITMQ_DEFAULT_PASS"] is None  # from .env; the image's guest stays inside
    assert "ports" not in rabbitmq


def test_every_setting_reaches_the_containers_but_those_of_the_image() -> None:
    of_the_image = {"state_dir", "host", "port", "web_processes"}
    wanted = {f"TOUCHSTONE_{name.upper()}" for name in Settings.model_fields.keys() - of_the_image}
    assert wanted <= set(SERVICES["web"]["environment"])


def test_no_secret_has_a_default() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            for variable in re.findall(r"\$\{(\w*(?:PASSWORD|SECRET|KEY)\w*[^}]*)\}", value or ""):
                assert ":?" in variable, f"{name} has a default for {variable}"
    assert filled_in(SERVICES["db"]["environment"]["POSTGRES_PASSWORD"]) == PASSWORD


def test_our_services_get_settings_that_exist() -> None:
    known = {f"TOUCHSTONE_{name.upper()}" for name in Settings.model_fields} | S3 | OPENTELEMETRY
    for name, service in OURS.items():
        assert set(service["environment"]) <= known, name


def test_the_settings_meet_the_services_they_name() -> None:
    settings = settings_of(SERVICES["web"])
    assert settings["TOUCHSTONE_DATABASE_URL"] == f"postgresql+psycopg://touchstone:{PASSWORD}@db:5432/touchstone"
    assert SERVICES["db"]["environment"]["POSTGRES_USER"] == "touchstone"
    assert SERVICES["db"]["environment"]["POSTGRES_DB"] == "touchstone"
    assert settings["TOUCHSTONE_REDIS_URL"] == "redis://redis:6379/0"


def test_services_start_after_what_they_need() -> None:
    for name, service in OURS.items():
        needs = {"db"} if name == "migrate" else {"migrate", "redis"}
        assert set(service["depends_on"]) == needs, name
    assert SERVICES["web"]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


def test_images_are_built_from_what_is_here() -> None:
    recipe = (ROOT / "Dockerfile").read_text()
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", recipe, re.MULTILINE))
    assert {service["build"]["target"] for service in OURS.values()} <= stages
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for line in re.findall(r"^COPY (?!--from)(.+)$", recipe, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert source in sent or source.split("/")[0] in sent, f".dockerignore keeps {source} from the build"


def test_images_do_not_run_as_root() -> None:
    recipe = (ROOT / "Dockerfile").read_text()
    for stage in recipe.split("FROM ")[2:]:
        users = re.findall(r"^USER (\S+)$", stage, re.MULTILINE)
        assert users[-1] == "touchstone"


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A Redis on a TCP port, as in the containers."""
    port = free_port()
    arguments = SERVICES["redis"]["command"][1:]
    server = subprocess.Popen(
        [embedded_redis.redis_server(), "--port", str(port), "--dir", tmp_path, "--bind", "127.0.0.1", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    assert any("Ready to accept connections" in line for line in server.stdout)
    yield f"redis://127.0.0.1:{port}/0"
    server.kill()
    server.wait()
    server.stdout.close()


@pytest.fixture
def database(postgres_server: str) -> Iterator[str]:
    """An empty PostgreSQL database, as the db service makes it."""
    admin = create_engine(postgres_server.format("postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE composed"))
    yield postgres_server.format("composed")
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE composed WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def start(database: str, redis_url: str, tmp_path: Path) -> Iterator[Start]:
    """`start("web")` runs that service's command with its settings, the servers' addresses aside."""
    started: list[subprocess.Popen[str]] = []
    here = {
        "TOUCHSTONE_DATABASE_URL": database,
        "TOUCHSTONE_REDIS_URL": redis_url,
        "TOUCHSTONE_STATE_DIR": str(tmp_path / "state"),
        "TOUCHSTONE_SWEEP_SECONDS": "0.5",
        "TOUCHSTONE_ARTEFACTS_URL": str(tmp_path / "state" / "artefacts"),
    }

    def _start(name: str, *more: str, command: str = "", pass_fds: tuple[int, ...] = ()) -> subprocess.Popen[str]:
        service = SERVICES[name]
        program, *arguments = shlex.split(command) or service["command"]
        settings = {**settings_of(service), **here}
        started.append(
            subprocess.Popen(
                [Path(sys.executable).with_name(program), *arguments, *more],
                env={**os.environ, **settings, "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                pass_fds=pass_fds,
            )
        )
        return started[-1]

    yield _start
    for process in started:
        process.kill()
        process.communicate()


def stop(process: subprocess.Popen[str]) -> str:
    """Stop it as `docker stop` does; it must end by itself, and not by an error."""
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=WAIT)
    assert process.returncode in (0, -signal.SIGTERM), output
    assert "Traceback" not in output
    return output


def test_migrate_user_and_web_work_on_postgresql(start: Start) -> None:
    migrate = start("migrate")
    assert "The database is at" in migrate.communicate(timeout=WAIT)[0]
    assert migrate.returncode == 0
    add = start("migrate", command="touchstone user add you@example.org --role admin")
    link = re.search(r"http://127\.0\.0\.1:8000(/welcome/\S+)", add.communicate(timeout=WAIT)[0])
    assert link

    with socket.create_server(("127.0.0.1", 0)) as listener:
        # The test holds the socket, so that its first request waits for the web to come up.
        web = start("web", "--fd", str(listener.fileno()), pass_fds=(listener.fileno(),))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with urllib.request.urlopen(f"{address}/healthz", timeout=WAIT) as answer:
            assert json.load(answer) == {"status": "ok"}
        with urllib.request.urlopen(f"{address}{link[1]}", timeout=WAIT) as answer:
            assert "Password" in answer.read().decode()
        stop(web)


@pytest.mark.prove  # as tests/system/test_queue.py has it of one machine
def test_scheduler_hands_on_a_silent_run_through_redis(start: Start, redis_url: str, database: str) -> None:
    assert start("migrate").communicate(timeout=WAIT)[0]
    engine = make_engine(database)
    with writing(engine) as session:
        run = make_running(session, make_project(session), silent_for=3600)
    engine.dispose()
    scheduler = start("scheduler")
    with redis.from_url(redis_url, socket_timeout=2 * WAIT) as queue:
        sent = queue.blpop(["touchstone"], timeout=WAIT)
    assert sent is not None
    headers = json.loads(sent[1])["headers"]
    assert (headers["task"], headers["argsrepr"]) == ("touchstone.run", f"['{run.id}']")
    stop(scheduler)


@pytest.mark.train
def test_worker_answers_over_redis_and_stops_when_asked(start: Start, redis_url: str, database: str) -> None:
    assert start("migrate").communicate(timeout=WAIT)[0]
    worker = start("worker")
    from celery import Celery

    asking = Celery(broker=redis_url)
    answers = (asking.control.broadcast("ping", reply=True, timeout=2, limit=1) for _ in range(30))
    assert any(answers), "the worker did not answer within a minute"
    asking.close()
    stop(worker)
