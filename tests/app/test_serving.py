"""Whom the web takes a request to come from, behind a proxy and without one."""

from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from app.core.config import Settings
from app.serving import config_of


def who_asks() -> FastAPI:
    app = FastAPI()

    @app.get("/")
    def who(request: Request) -> str:
        return f"{request.url.scheme} {request.client.host if request.client else ''}"

    return app


def seen(settings: Settings, peer: str, forwarded: str) -> str:
    config = config_of(settings, "tests.app.test_serving:who_asks")
    config.load()
    with TestClient(config.loaded_app, client=(peer, 5000)) as client:
        answer = client.get("/", headers={"X-Forwarded-For": forwarded, "X-Forwarded-Proto": "https"})
    return str(answer.json())


def test_only_a_trusted_proxy_is_believed_and_only_about_its_own_neighbour() -> None:
    settings = Settings(public_url="https://labels.example.org", trusted_proxies="127.0.0.1,10.0.0.0/8")
    assert seen(settings, "10.1.2.3", "203.0.113.9") == "https 203.0.113.9"
    assert seen(settings, "10.1.2.3", "1.1.1.1, 203.0.113.9, 10.9.9.9") == "https 203.0.113.9"  # the first is made up
    assert seen(settings, "203.0.113.9", "127.0.0.1") == "http 203.0.113.9"


def test_without_a_public_address_nobody_is_believed() -> None:
    assert seen(Settings(public_url=None), "127.0.0.1", "203.0.113.9") == "http 127.0.0.1"
