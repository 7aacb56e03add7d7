"""create_app(): middleware, error pages, each room's routers."""

import importlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from fastapi.routing import iter_route_contexts
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.types import Scope

from app import tables  # noqa: F401  the metadata must be whole before the first query
from app.accounts.access import ANYONE
from app.accounts.body_limit import BodyLimit
from app.core.access_log import HEADER, RequestLog, Watch, route_of
from app.core.api import Problem
from app.core.base_path import BasePath, base_path
from app.core.config import WrongSettings, get_settings
from app.core.db import get_engine
from app.core.errors import DomainError, Invalid, NotFound, SignInNeeded, TooMany
from app.core.outages import SECONDS, Outage, outage
from app.core.pages import render, wants_json
from app.core.readiness import Readiness, as_answer
from app.core.security import HEADERS, Guard

logger = logging.getLogger(__name__)
ROUTERS = (
    "app.labeling.api",  # first, since an address is looked for in this order and labelers ask most
    "app.labeling.routes",
    "app.accounts.api",
    "app.accounts.routes",
    "app.accounts.preference_routes",
    "app.accounts.token_routes",
    "app.accounts.audit_routes",
    "app.accounts.second_step_routes",
    "app.accounts.single_sign_on_routes",
    "app.accounts.second_factor_routes",
    "app.accounts.sign_in_routes",
    "app.projects.api",
    "app.projects.routes",
    "app.prompts.api",
    "app.prompts.routes",
    "app.prompts.intake.api",
    "app.prompts.intake.routes",
    "app.prompts.intake.review_routes",
    "app.prompts.intake.download_routes",
    "app.benchmarks.api",
    "app.registry.api",
    "app.registry.routes",
    "app.quality.own_routes",
    "app.quality.routes",
    "app.datasets.existing.routes",
    "app.datasets.api",
    "app.datasets.download_routes",
    "app.datasets.routes",
    "app.prefixes.api",
    "app.prefixes.routes",
    "app.playground.routes",
    "app.runs.routes",
    "app.runs.model_routes",
    "app.runs.model_download_routes",
    "app.runs.api",
    "app.evals.api",
    "app.evals.download_routes",
    "app.evals.output_routes",
    "app.evals.contest_routes",
    "app.evals.benchmark_routes",
    "app.evals.alignment_routes",
    "app.evals.reward_routes",
    "app.evals.routes",
    "app.people.routes",
    "app.explorer.routes",
    "app.webhooks.api",
    "app.webhooks.routes",
    "app.webhooks.letter_routes",
    "app.system.metrics_routes",
    "app.system.routes",
)

PROBLEM: dict[str, Any] = {
    "description": "What is wrong, and what to do about it.",
    "content": {"application/problem+json": {"schema": Problem.model_json_schema()}},
}
BROKEN = (DBAPIError, PoolTimeout, OSError)  # may mean that the database or the disk is away
DESCRIBED = ("api", "download_routes")  # what scripts ask for; the rest are pages


class StampedFiles(StaticFiles):
    """Static files whose address carries a stamp of their content: browsers may keep those for ever."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        is_stamped = b"v=" in scope.get("query_string", b"")
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if is_stamped else "no-cache"
        return response


def render_error(request: Request, error: DomainError) -> Response:
    """A person's error as JSON for scripts, as the sign-in page, or as a page that says what to do."""
    if wants_json(request):
        body = {
            "type": type(error).__name__,
            "title": error.title,
            "status": int(error.status),
            "detail": error.message,
            "mend": error.mend,
            "fields": error.fields if isinstance(error, Invalid) else {},
        }
        return JSONResponse(body, error.status, _retry_after(error), media_type="application/problem+json")
    if isinstance(error, SignInNeeded) and request.method == "GET":
        return RedirectResponse(f"/sign-in?then={quote(request.url.path)}", 303)
    return render(request, "error.html", status=error.status, error=error)


def _retry_after(error: DomainError) -> dict[str, str] | None:
    seconds = error.seconds if isinstance(error, TooMany) else SECONDS if isinstance(error, Outage) else None
    return {"Retry-After": str(seconds)} if seconds else None


async def _on_broken_part(request: Request, error: Exception) -> Response:
    """The database or the disk is away, full or read-only; anything else is a mistake of ours."""
    told = outage(error)
    if told is None:
        raise error
    logger.warning("%s %s was refused: %s", request.method, route_of(request.scope), error)
    return render_error(request, told)


async def _on_domain_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, DomainError)
    return render_error(request, error)


async def _on_wrong_input(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    fields = {".".join(str(part) for part in e["loc"][1:]) or str(e["loc"][0]): e["msg"] for e in error.errors()}
    what = "; ".join(f"{name}: {message}" for name, message in fields.items())
    return render_error(request, Invalid(f"Some fields are wrong. {what}", fields=fields))


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    cause = error.__cause__  # FastAPI takes what breaks while a body is read for a fault of the body
    if isinstance(cause, DomainError):
        return render_error(request, cause)
    if isinstance(cause, BROKEN):
        return await _on_broken_part(request, cause)
    if error.status_code == 404:
        return render_error(request, NotFound("There is nothing at this address."))
    problem = DomainError(str(error.detail))
    problem.status = error.status_code  # type: ignore[assignment]
    return render_error(request, problem)


class Unforeseen(DomainError):
    title = "Something broke"
    status = HTTPStatus.INTERNAL_SERVER_ERROR


async def _on_unforeseen(request: Request, _: Exception) -> Response:
    """A mistake of ours, in the log under the id that the page shows. No middleware sees this answer."""
    request_id = request.state.request_id
    error = Unforeseen(
        "This is a mistake of the software or of its machine, not yours. What you sent may not have been kept.",
        mend=f"Try again. If it stays so, give an admin this number: {request_id}.",
    )
    response = render_error(request, error)
    response.headers.update({**HEADERS, "Cache-Control": "no-store", HEADER: request_id})
    return response


def _metrics() -> Watch | None:
    """What counts the requests, where metrics are on."""
    if get_settings().metrics_token is None:
        return None
    from app.core import metrics

    metrics.start()
    return metrics.watch


# One thread at a time runs Python; more only wait for it and for each other. With 32 labelers at once, 40 threads (the
# default) do 64 cycles a second, 8 do 67, 6 do 72, 2 do 77; but each that waits for a slow query is one less.
THREADS = 6


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    current_default_thread_limiter().total_tokens = THREADS
    yield
    get_engine().dispose()


def create_app() -> FastAPI:
    app = FastAPI(
        title="Touchstone",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        lifespan=_lifespan,
        servers=[{"url": base_path()}] if base_path() else None,
        responses={422: PROBLEM, "default": PROBLEM},
    )
    app.add_middleware(BodyLimit)
    app.add_middleware(Guard, is_over_tls=get_settings().is_over_tls)
    app.add_middleware(RequestLog, watch=_metrics())  # around Guard, so that what it refuses is told of too
    app.add_middleware(BasePath)
    app.mount("/static", StampedFiles(directory=Path(__file__).parent / "static"), name="static")
    app.add_exception_handler(DomainError, _on_domain_error)
    app.add_exception_handler(RequestValidationError, _on_wrong_input)
    app.add_exception_handler(HTTPException, _on_http_error)
    for broken in BROKEN:
        app.add_exception_handler(broken, _on_broken_part)
    app.add_exception_handler(Exception, _on_unforeseen)
    for name in ROUTERS:
        app.include_router(importlib.import_module(name).router, include_in_schema=name.endswith(DESCRIBED))

    @app.get("/healthz", dependencies=[ANYONE])
    async def healthz() -> dict[str, str]:
        """That it is alive. Not in the threads of the pages either: who hears nothing would kill a web that waits."""
        return {"status": "ok"}

    readiness = Readiness()

    @app.get("/readyz", dependencies=[ANYONE])
    async def readyz() -> Response:
        """Whether it can do its work now. Not in the threads of the pages: those may all wait for the database."""
        status, body = as_answer(await readiness.ask())
        return JSONResponse(body, status)

    _refuse_taken(base_path(), app)
    return app


def _refuse_taken(base: str, app: FastAPI) -> None:
    """Below a path of the pages' own nobody could tell whether a proxy has taken it off."""
    if not base:
        return  # walking all routes takes a third of a second
    taken = {"static"} | {(route.path or "/").split("/")[1] for route in iter_route_contexts(app.routes)}
    if base.split("/")[1] in taken:
        raise WrongSettings(f"TOUCHSTONE_PUBLIC_URL ends in {base}, where pages are.", mend="Choose another path.")
