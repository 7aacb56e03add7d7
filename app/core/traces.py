"""Traces by OpenTelemetry: what a request took and where, through web, database, queue and worker.

Where OTEL_EXPORTER_OTLP_ENDPOINT names a place for them, and nowhere else; OpenTelemetry's own variables say the rest.
Spans are made here and not by its instrumentations: those tell of addresses, and addresses hold tokens.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from sqlalchemy import Engine, event

logger = logging.getLogger(__name__)
PLACES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
LONGEST = 2000  # characters of a statement
_provider: Any = None
_tracer: Any = None


def configure_traces(process: str) -> None:
    """Begin to send traces, if a place for them is named. That they can't be sent is logged and hinders nothing."""
    global _provider, _tracer
    if not any(os.environ.get(name) for name in PLACES):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logger.warning("There are no traces: install Touchstone with the extra `traces`.")
        return
    name = os.environ.get("OTEL_SERVICE_NAME") or f"touchstone-{process}"
    facts = {"service.name": name, "service.version": version("touchstone")}
    _provider = TracerProvider(resource=Resource.create(facts))
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = _provider.get_tracer("touchstone")
    event.listen(Engine, "before_cursor_execute", _before_statement)
    event.listen(Engine, "after_cursor_execute", _after_statement)
    event.listen(Engine, "handle_error", _on_error)


def end_traces() -> None:
    """Send what waits, and no more."""
    global _provider, _tracer
    if _provider is None:
        return
    event.remove(Engine, "before_cursor_execute", _before_statement)
    event.remove(Engine, "after_cursor_execute", _after_statement)
    event.remove(Engine, "handle_error", _on_error)
    _provider.shutdown()
    _provider = _tracer = None


@contextmanager
def span(name: str, *, carried: Mapping[str, str] | None = None, is_server: bool = True) -> Iterator[Any]:
    """A part of a trace while it lasts; None where there are no traces. `carried` are the headers with which it was
    asked for: W3C's `traceparent` makes it a part of the trace of who asked."""
    if _tracer is None:
        yield None
        return
    from opentelemetry.propagate import extract
    from opentelemetry.trace import SpanKind

    kind = SpanKind.SERVER if is_server else SpanKind.CONSUMER
    with _tracer.start_as_current_span(
        name, context=extract(dict(carried or {})), kind=kind, record_exception=False, set_status_on_exception=False
    ) as made:
        try:
            yield made
        except BaseException as error:  # by its kind alone: its words may hold what somebody wrote
            made.set_attribute("error.type", type(error).__name__)
            raise


def add_to_span(name: str, value: str) -> None:
    """Say more of what is under way, once it is known."""
    if _tracer is not None:
        from opentelemetry.trace import get_current_span

        get_current_span().set_attribute(name, value)


def to_carry() -> dict[str, str]:
    """Headers that make what is asked for a part of this trace."""
    if _tracer is None:
        return {}
    from opentelemetry.propagate import inject

    carried: dict[str, str] = {}
    inject(carried)
    return carried


def _before_statement(_: Any, __: Any, statement: str, ___: Any, context: Any, ____: bool) -> None:
    from opentelemetry.trace import SpanKind, get_current_span

    if context is None or not get_current_span().is_recording():
        return  # what no request and no job asked for
    made = _tracer.start_span(statement.split(None, 1)[0].upper(), kind=SpanKind.CLIENT)
    made.set_attribute("db.query.text", statement[:LONGEST])  # with places for the values, which stay here
    context.touchstone_span = made


def _after_statement(_: Any, __: Any, ___: str, ____: Any, context: Any, _____: bool) -> None:
    if (made := getattr(context, "touchstone_span", None)) is not None:
        made.end()


def _on_error(told: Any) -> None:
    if (made := getattr(told.execution_context, "touchstone_span", None)) is not None:
        made.set_attribute("error.type", type(told.original_exception).__name__)
        made.end()
