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
from touchstone.imports import PromptImport
from touchstone.records import BenchmarkFile, BenchmarkResult, Model, Prompt, Report, read
from touchstone.runs import Run
from touchstone.snapshots import Snapshot
from touchstone.webhooks import Webhook

ROWS_AT_ONCE = 500  # prompts in one request
UPLOAD_TAKES = 600.0  # seconds in which a server has looked at the first rows of what it was sent


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

    def import_prompts(self, path: str | os.PathLike[str], **settings: Any) -> PromptImport:
        """Send a file of prompts and start its import: JSONL, CSV, TSV, Parquet or text, gzip of all but Parquet.

        The server guesses which column is what and takes the steps of the project's last import; `settings` are other
        than that: `columns={"prompt": "question"}`, `most_of_one=200`, ... as an import's own `settings` says.
        """
        return self.upload_prompts(path).start(**settings)

    def upload_prompts(self, path: str | os.PathLike[str]) -> PromptImport:
        """Send a file of prompts as a draft: its `settings` are what the server guesses; `start()` takes it."""
        with Path(path).open("rb") as file:
            answer = self.connection.ask(
                "POST", f"{self._api}/prompt-imports", again=False, files={"file": (Path(path).name, file)},
                timeout=UPLOAD_TAKES,
            )  # fmt: skip
        return self._import(answer.json())

    def fetch_prompts(
        self, dataset: str, *, config: str = "", split: str = "train", revision: str = "", rows: int = 0
    ) -> PromptImport:
        """Have a worker fetch a dataset of the Hugging Face Hub. It is a draft when it is here: `wait()`, `start()`."""
        body = {"dataset": dataset, "config": config, "split": split, "revision": revision, "rows": rows}
        return self._import(self.connection.post(f"{self._api}/prompt-imports/hub", body, again=False))

    def prompt_imports(self) -> Iterator[PromptImport]:
        """Newest first; what was discarded is left out."""
        return (self._import(each) for each in self.connection.pages(f"{self._api}/prompt-imports"))

    def prompt_import(self, import_id: str) -> PromptImport:
        return self._import(self.connection.get(f"{self._api}/prompt-imports/{import_id}"))

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
        """Newest first. `kind`: base, sft, reward, policy, classifier or outside."""
        return (read(Model, each) for each in self.connection.pages(f"{self._api}/models", kind=kind))

    def download_model(self, model: Model, path: str | os.PathLike[str]) -> Path:
        """Its Hugging Face folder with its card, as a tar file; goes on where it broke off."""
        return download(self.connection, f"/p/{self.slug}/models/{model.id}/model.tar", path)

    def model_card(self, model: Model) -> str:
        """Where it comes from, what it was trained on and how, what it reached and what it can't do, as Markdown."""
        return self.connection.ask("GET", f"/p/{self.slug}/models/{model.id}/card.md").text

    def benchmark_files(self) -> Iterator[BenchmarkFile]:
        """Newest first; of each benchmark one is in use."""
        return (read(BenchmarkFile, each) for each in self.connection.pages(f"{self._api}/benchmarks/files"))

    def add_benchmark_file(self, benchmark: str, path: str | os.PathLike[str]) -> BenchmarkFile:
        """Send the data of a benchmark (`hellaswag`, `harness_piqa`, ...); models are measured on it from now on."""
        with Path(path).open("rb") as file:
            answer = self.connection.ask(
                "POST", f"{self._api}/benchmarks/files", again=False, files={"file": (Path(path).name, file)},
                data={"benchmark": benchmark}, timeout=UPLOAD_TAKES,
            )  # fmt: skip
        return read(BenchmarkFile, answer.json())

    def benchmark_results(
        self, *, model: Model | str = "", run: Run | str = "", benchmark: str = ""
    ) -> Iterator[BenchmarkResult]:
        """Newest first: each with its interval, n, prompt, decoding, data and code version."""
        chosen = {
            "model": model if isinstance(model, str) else model.id,
            "run": run if isinstance(run, str) else run.id,
        }
        found = self.connection.pages(f"{self._api}/benchmarks/results", benchmark=benchmark, **chosen)
        return (read(BenchmarkResult, each) for each in found)

    def download_items(self, result: BenchmarkResult, path: str | os.PathLike[str]) -> Path:
        """Every item that a figure rests on, as JSONL: prompt, answer, references, score."""
        return download(self.connection, f"{self._api}/benchmarks/results/{result.id}/items.jsonl", path)

    def runs(self, *, kind: str = "", state: str = "") -> Iterator[Run]:
        """Newest first."""
        return (self._run(each) for each in self.connection.pages(f"{self._api}/runs", kind=kind, state=state))

    def run(self, run_id: str) -> Run:
        return self._run(self.connection.get(f"/api/v1/runs/{run_id}"))

    def start_run(
        self, kind: str, *, name: str = "", preset: str = "", parts: Mapping[str, Model | Snapshot | str] | None = None,
        priority: str = "normal", device: str = "any", **config: Any,
    ) -> Run:  # fmt: skip
        """Freeze what the run reads, and queue it. What is left out is what the page of a new run starts with: the
        newest models, everything labelled so far, the settings for a model of this size.

        `kind`: sft, reward_model, cross_validation, ppo, dpo, rloo, sampling, evaluation, prefix_contest or
        reward_evaluation.
        `parts`: models and snapshots by the part that they play, such as `{"base": model}`. `priority`: high, normal
        or low. `device`: which workers may take it, any, or those with a gpu or only a cpu. `config`: settings other
        than the preset's.
        """
        chosen = {part: each if isinstance(each, str) else each.id for part, each in (parts or {}).items()}
        body = {"kind": kind, "name": name, "preset": preset, "parts": chosen, "config": config, "priority": priority,
                "device": device, "key": uuid.uuid4().hex}  # fmt: skip
        return self._run(self.connection.post(f"{self._api}/runs", body))

    def webhooks(self) -> list[Webhook]:
        """The addresses that are told what happens here. For admins."""
        return [self._webhook(each) for each in self.connection.pages(f"{self._api}/webhooks")]

    def add_webhook(self, url: str, events: Iterable[str]) -> Webhook:
        """Have an address told of `run.finished`, `model.ready`, `model.refused`, `snapshot.frozen`, `batch.stopped` or
        `import.finished`. Keep its `secret`: no later answer holds it."""
        body = {"url": url, "events": list(events)}
        return self._webhook(self.connection.post(f"{self._api}/webhooks", body, again=False))

    @property
    def _api(self) -> str:
        return f"/api/v1/projects/{self.slug}"

    def _import(self, said: dict[str, Any]) -> PromptImport:
        return read(PromptImport, said, slug=self.slug, connection=self.connection)

    def _webhook(self, said: dict[str, Any]) -> Webhook:
        return read(Webhook, said, slug=self.slug, connection=self.connection)

    def _snapshot(self, said: dict[str, Any]) -> Snapshot:
        return read(Snapshot, said, connection=self.connection)

    def _run(self, said: dict[str, Any]) -> Run:
        return read(Run, said, connection=self.connection)
