"""A measurement: a model and benchmarks in, figures with their items out, no model."""

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from app.benchmarks.catalogue import BENCHMARKS
from app.benchmarks.files import read_rows
from app.core.storage import get_artefacts
from app.evals.models import BenchmarkResult
from app.evals.results import packed
from app.registry.models import Model
from app.runs import measuring, service
from app.runs.evaluation_config import EvaluationConfig
from workers.jobs.claimed import Claimed
from workers.jobs.patience import patiently
from workers.training.loop import CannotTrain, Outcome

if TYPE_CHECKING:
    from workers.benchmarks.measure import Data
    from workers.benchmarks.results import Result


def work(claimed: Claimed) -> Outcome:
    config = claimed.config
    assert isinstance(config, EvaluationConfig)
    if importlib.util.find_spec("lm_eval") is None:
        raise CannotTrain("This worker has no lm-evaluation-harness. Install Touchstone with the extra `evals`.")
    from workers.benchmarks.measure import measure  # seconds, and nothing that another kind of run needs

    claimed.note("Reading the data")
    measured = measure(
        config, claimed, model=claimed.model_folder("model"), data=_data(claimed), checkpoints=claimed.checkpoints,
        classifier=claimed.optional_folder("toxicity_classifier"), truth_judge=claimed.optional_folder("truth_judge"),
        info_judge=claimed.optional_folder("info_judge"), note=claimed.note,
    )  # fmt: skip
    if not measured.finished:
        return Outcome(finished=False, step=measured.step, metrics={})
    rows = [_facts(claimed, result) for result in measured.results]  # nobody can write while they are stored
    ways = {(result.benchmark, result.style, result.few_shot): result.n for result in reversed(measured.results)}
    summary = {"figures": len(rows), "items": sum(ways.values())}  # of each way through a benchmark, once
    patiently(lambda session: _store(session, claimed, rows, summary))
    return Outcome(finished=True, step=measured.step, metrics={})


def _data(claimed: Claimed) -> "dict[str, Data]":
    """The rows of the files that the run was made with; what has none comes from the Hub."""
    from workers.benchmarks.measure import Data

    data = {}
    for file in patiently(lambda session: measuring.files_of(session, claimed.run)):
        with get_artefacts().local_file(file.storage_key) as path:
            data[file.benchmark] = Data(read_rows(path, file.benchmark), f"file {file.name}", file.sha256)
    return data


def _keep_items(claimed: Claimed, result: "Result") -> str:
    """The items under a key of their own, written before the row that names it."""
    name = f"{result.benchmark}.{result.style}.{result.few_shot}.{result.metric}"
    key = f"benchmarks/items/{claimed.run.id}/{name}.jsonl"
    with get_artefacts().writing(key) as file:
        for item in result.items:
            file.write((json.dumps(item, ensure_ascii=False) + "\n").encode(errors="replace"))
    return key


def _facts(claimed: Claimed, result: "Result") -> dict[str, Any]:
    """A figure as its row, its items kept beside."""
    facts = {each.name: getattr(result, each.name) for each in fields(result) if each.name != "items"}
    scores = facts.pop("item_scores")
    facts |= {"prompt": service.storable(result.prompt), "scorer": _scorer(claimed, result)}
    return facts | {
        "item_scores": None if scores is None else packed(scores),
        "storage_key": _keep_items(claimed, result),
    }


def _store(session: Session, claimed: Claimed, rows: Sequence[dict[str, Any]], summary: dict[str, int]) -> None:
    """All figures and the run's end in one transaction."""
    run = claimed.run
    service.finish(session, run.id, claim=claimed.claim, result=summary)
    session.add_all(
        BenchmarkResult(project_id=run.project_id, run_id=run.id, model_id=claimed.subject.id, **facts)
        for facts in rows
    )


def _scorer(claimed: Claimed, result: "Result") -> str:
    """With the names of the models that scored, where models did."""
    needs = BENCHMARKS[result.benchmark].needs
    parts = measuring.SCORED_BY[needs] if needs else ()
    names = [_named(claimed.models[part]) for part in parts if part in claimed.models]
    return f"{' and '.join(names)}: {result.scorer}" if names else result.scorer


def _named(model: Model) -> str:
    return f"{model.name}@{model.revision[:12]}" if model.revision else model.name
