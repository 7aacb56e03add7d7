"""Traces, as a collector gets them: a request, its statements and its job in one, and no token in any."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from app.core import traces
from app.core.config import Settings
from app.core.queue import JobName

Collected = Callable[[], dict[str, Span]]


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collected]:
    """A collector that takes OTLP over HTTP; called, it ends the traces and gives the spans by name."""
    spans: list[Span] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
            spans.extend(each for of in sent.resource_spans for scope in of.scope_spans for each in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Not among the tests' lines."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    traces.configure_traces("web")

    def collected() -> dict[str, Span]:
        traces.end_traces()
        return {each.name: each for each in spans}

    yield collected
    traces.end_traces()
    server.shutdown()
    server.server_close()


def _said(span: Span) -> dict[str, str]:
    return {each.key: each.value.string_value or str(each.value.int_value) for each in span.attributes}


def test_a_request_and_its_statements_are_one_trace_without_values(client: TestClient, collected: Collected) -> None:
    client.get("/welcome/a-token-of-someone", headers={"X-Request-ID": "of-the-proxy"})
    spans = collected()
    (asked,) = [name for name in spans if name.startswith("GET")]
    assert asked == "GET /welcome/{token}"
    assert _said(spans[asked])["touchstone.request_id"] == "of-the-proxy"
    statement = spans["SELECT"]
    assert (statement.trace_id, statement.parent_span_id) == (spans[asked].trace_id, spans[asked].span_id)
    assert "SELECT" in _said(statement)["db.query.text"]
    assert not any("a-token-of-someone" in str(each) for each in spans.values())


def test_it_is_part_of_the_trace_that_a_proxy_began(client: TestClient, collected: Collected) -> None:
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    client.get("/healthz", headers={"traceparent": f"00-{trace}-{parent}-01"})
    (span,) = collected().values()
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (trace, parent)


def test_a_job_is_part_of_the_trace_of_the_request_that_asked_for_it(
    installation: Settings, collected: Collected
) -> None:
    from workers.celery_app import celery

    with traces.span("POST /p/{slug}/runs") as asking:
        headers = traces.to_carry()
        trace = format(asking.get_span_context().trace_id, "032x")
    celery.tasks[JobName.import_prompts.value].apply(args=["00000000-0000-0000-0000-000000000000"], headers=headers)
    job = collected()[JobName.import_prompts.value]
    assert job.trace_id.hex() == trace
    assert _said(job)["touchstone.import_id"].startswith("00000000")


def test_of_what_broke_only_the_kind_is_told(collected: Collected) -> None:
    with pytest.raises(ValueError, match="a secret"), traces.span("GET /broken"):
        raise ValueError("a secret of someone")
    broken = collected()["GET /broken"]
    assert (_said(broken)["error.type"], "a secret" in str(broken)) == ("ValueError", False)


def test_without_a_place_for_them_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    traces.configure_traces("web")
    with traces.span("GET") as span:
        assert span is None
    assert traces.to_carry() == {}
