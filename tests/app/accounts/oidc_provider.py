"""A small OpenID Connect provider with keys of its own, spoken to over HTTP. It lets in whoever comes, as `claims`
says; `changed` makes it lie."""

import base64
import hashlib
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import uvicorn
from fastapi import FastAPI, Form, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "touchstone", "a client's secret & more"


class Provider:
    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.keys = [RSAKey.generate_key(2048, {"kid": "first", "use": "sig"})]
        self.claims: dict[str, Any] = {}
        self.more: dict[str, Any] = {}  # what only the userinfo says
        self.changed: dict[str, Any] = {}  # of the ID token
        self.metadata: dict[str, Any] = {}  # what it says otherwise of itself
        self.signs_with: RSAKey | None = None
        self.is_broken = False
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []

    def id_token(self, asked: dict[str, str]) -> str:
        moment = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": moment, "exp": moment + 300, "nonce": asked["nonce"]}
        key = self.signs_with or self.keys[-1]
        return jwt.encode({"alg": "RS256", "kid": key.kid}, {**claims, **self.claims, **self.changed}, key)

    def rotate(self) -> None:
        self.keys = [RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "use": "sig"})]


def _app(provider: Provider) -> FastAPI:
    app = FastAPI()

    @app.middleware("http")
    async def _watch(request: Request, call_next: Any) -> Response:
        provider.asked.append(request.url.path)
        if provider.is_broken:
            return Response("down for maintenance", 503)
        return await call_next(request)

    @app.get("/.well-known/openid-configuration")
    def metadata() -> dict[str, Any]:
        here = provider.issuer
        told = {"issuer": here, "authorization_endpoint": f"{here}/authorize", "token_endpoint": f"{here}/token",
                "jwks_uri": f"{here}/keys", "userinfo_endpoint": f"{here}/userinfo"}  # fmt: skip
        return {**told, **provider.metadata}

    @app.get("/keys")
    def keys() -> dict[str, Any]:
        return {"keys": [key.as_dict(private=False) for key in provider.keys]}

    @app.get("/authorize")
    def authorize(request: Request) -> Response:
        asked = dict(request.query_params)
        assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT)
        assert (asked["code_challenge_method"], "openid" in asked["scope"].split()) == ("S256", True)
        code = secrets.token_urlsafe(8)
        provider.codes[code] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}", 303)

    @app.post("/token")
    def token(
        request: Request,
        code: str = Form(),
        redirect_uri: str = Form(),
        code_verifier: str = Form(),
        grant_type: str = Form(),
    ) -> Response:
        asked = provider.codes.pop(code, None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(code_verifier.encode()).digest()).decode().rstrip("=")
        given = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {given}":
            return JSONResponse({"error": "invalid_client"}, 401)
        if (
            asked is None
            or asked["code_challenge"] != challenge
            or asked["redirect_uri"] != redirect_uri
            or grant_type != "authorization_code"
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        answer = {"access_token": "opaque", "token_type": "Bearer", "expires_in": 60}
        return JSONResponse({**answer, "id_token": provider.id_token(asked)})

    @app.get("/userinfo")
    def userinfo(request: Request) -> dict[str, Any]:
        assert request.headers["authorization"] == "Bearer opaque"
        return {"sub": provider.claims["sub"], **provider.more}

    return app


@contextmanager
def serving() -> Iterator[Provider]:
    listener = socket.create_server(("127.0.0.1", 0))
    provider = Provider(listener.getsockname()[1])
    server = uvicorn.Server(uvicorn.Config(_app(provider), log_level="error", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield provider
    server.should_exit = True
    thread.join(10)
    listener.close()
