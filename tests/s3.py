"""An S3 of our own: moto's server, on a port of this machine, for tests that need a store which is no folder."""

import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.storage import Artefacts


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_environment(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What an operator sets. The address of the server."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "touchstone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of the tests")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return s3_server


@pytest.fixture
def bucket(s3_environment: str) -> Iterator[str]:
    """The URL of a bucket with nothing in it."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    name = f"touchstone-{uuid.uuid4().hex[:12]}"
    s3fs.S3FileSystem(use_listings_cache=False).mkdir(name)
    yield f"s3://{name}/artefacts"
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def s3_store(bucket: str, tmp_path: Path) -> Artefacts:
    return Artefacts(bucket, tmp_path / "cache")


@pytest.fixture
def store_in_s3(bucket: str, installation: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An installation whose artefacts lie in a bucket."""
    from tests.conftest import forget_settings  # which names this module as its plugin

    monkeypatch.setenv("TOUCHSTONE_ARTEFACTS_URL", bucket)
    forget_settings()
    yield bucket
    forget_settings()
