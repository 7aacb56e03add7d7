"""A server, its projects, and what each has."""

import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import httpx

from touchstone.connection import Connection
from touchstone.downloads import download
from touchstone.records import Model, Prompt, Report, read
from touchstone.runs import Run
from touchstone.snapshots import Snapshot

ROWS_AT_ONCE = 500  # prompts in one request


class Client:
    """A Touchstone server, asked as the person whose token it is.

    `url` and `token` come from TOUCHSTONE_URL and TOUCHSTONE_TOKEN where they are not given; a token is made under
    one's name, *API tokens*. Errors are `ApiError` with what is wrong in words, and `Unreachable`.
    """

    def __init__(
        self, url: str = "", token: str = "", *, timeout: float = 60.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        url, token = url or os.environ.get("TOUCHSTONE_URL", ""), token or os.environ.get("TOUCHSTONE_TOKEN", "")
        missing = [name for name, value in {"TOUCHSTONE_URL": url, "TOUCHSTONE_TOKEN": token}.items() if not value]
        if missing:
            raise ValueError(f"Give the server's url and a token, or set {' and '.join(missing)}.")
        self.connection = Connection(url, token, timeout=timeout, transport=transport)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.http.close()

    def me(self) -> dict[str, str]:
        """Whose token this is: id, name, role."""
        found: dict[str, str] = self.connection.get("/api/v1/me")
        return found

    def projects(self) -> list["Project"]:
        found = self.connection.get("/api/v1/projects")["items"]
        return [read(Project, each, connection=self.connection) for each in found]

    def project(self, slug: str) -> "Project":
        """The project at `/p/{slug}`."""
        return read(Project, self.connection.get(f"/api/v1/projects/{slug}"), connection=self.connection)


@dataclass(frozen=True, slots=True)
class Project:
    id: str
    slug: str
    name: str
    connection: Connection = field(repr=False, compare=False)

    def prompts(self, *, split: str = "", use_case: str = "", search: str = "") -> Iterator[Prompt]:
        """The prompts in use, oldest first; fetched as they are wanted."""
        found = self.connection.pages(f"{self._api}/prompts", split=split, use_case=use_case, q=search, limit=500)
        return (read(Prompt, each) for each in found)

    def add_prompts(self, rows: Iterable[Mapping[str, Any] | str], *, source: str = "api") -> Report:
        """Each row is a text, or says `prompt` or `messages` and what is known of its origin. What is there already is
        not taken twice, so the same can be sent again."""
        said = ({"prompt": row} if isinstance(row, str) else dict(row) for row in rows)
        report, before = Report(0, []), 0
        while part := list(islice(said, ROWS_AT_ONCE)):
            answer = self.connection.post(f"{self._api}/prompts", {"rows": part, "source": source})
            judged = [{**row, "number": row["number"] + before} for row in answer["rows"]]
            report, before = Report(report.taken + answer["taken"], report.rows + judged), before + len(part)
        return report

    def snapshots(self, kind: str = "") -> Iterator[Snapshot]:
        """Newest first. `kind`: demonstrations, comparisons, prompts or text."""
        return (self._snapshot(each) for each in self.connection.pages(f"{self._api}/snapshots", kind=kind))

    def snapshot(self, snapshot_id: str) -> Snapshot:
        return self._snapshot(self.connection.get(f"{self._api}/snapshots/{snapshot_id}"))

    def freeze(self, kind: str, **filter_: Any) -> Snapshot:
        """A snapshot of all there is of this kind, or of what a filter takes: `purpose="training"`, `splits=[...]`, ...
        as a snapshot's own `filter` says. The same labels and filter give the same snapshot."""
        wanted = json.loads(json.dumps(filter_, default=str))  # moments and ids may be given as such
        return self._snapshot(self.connection.post(f"{self._api}/snapshots", {"kind": kind, "filter": wanted}))

    def models(self, kind: str = "") -> Iterator[Model]:
        """Newest first. `kind`: base, sft, reward or policy."""
        return (read(Model, each) for each in self.connection.pages(f"{self._api}/models", kind=kind))

    def download_model(self, model: Model, path: str | os.PathLike[str]) -> Path:
        """Its Hugging Face folder with its card, as a tar file; goes on where it broke off."""
        return download(self.connection, f"/p/{self.slug}/models/{model.id}/model.tar", path)

    def model_card(self, model: Model) -> str:
        """Where it comes from, what it was trained on and how, what it reached and what it can't do, as Markdown."""
        return self.connection.ask("GET", f"/p/{self.slug}/models/{model.id}/card.md").text

    def runs(self, *, kind: str = "", state: str = "") -> Iterator[Run]:
        """Newest first."""
        return (self._run(each) for each in self.connection.pages(f"{self._api}/runs", kind=kind, state=state))

    def run(self, run_id: str) -> Run:
        return self._run(self.connection.get(f"/api/v1/runs/{run_id}"))

    def start_run(
        self, kind: str, *, name: str = "", preset: str = "", parts: Mapping[str, Model | Snapshot | str] | None = None,
        **config: Any,
    ) -> Run:  # fmt: skip
        """Freeze what the run reads, and queue it. What is left out is what the page of a new run starts with: the
        newest models, everything labelled so far, the settings for a model of this size.

        `kind`: sft, reward_model, cross_validation, ppo, dpo, rloo or sampling. `parts`: models and snapshots by the
        part that they play, such as `{"base": model}`. `config`: settings other than the preset's.
        """
        chosen = {part: each if isinstance(each, str) else each.id for part, each in (parts or {}).items()}
        body = {"kind": kind, "name": name, "preset": preset, "parts": chosen, "config": config}
        return self._run(self.connection.post(f"{self._api}/runs", {**body, "key": uuid.uuid4().hex}))

    @property
    def _api(self) -> str:
        return f"/api/v1/projects/{self.slug}"

    def _snapshot(self, said: dict[str, Any]) -> Snapshot:
        return read(Snapshot, said, connection=self.connection)

    def _run(self, said: dict[str, Any]) -> Run:
        return read(Run, said, connection=self.connection)
