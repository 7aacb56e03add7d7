"""Measures a model on benchmarks by lm-evaluation-harness's tasks, the paper's protocol (appendix D) among them.

    measure(EvaluationConfig(benchmarks=("hellaswag",)), on_step, model=folder, data={...}, checkpoints=folder)

A benchmark is gone through once for each of its styles and numbers of examples; each piece of it is a step and, once
told, a line of `measured.jsonl`. Killed and started again, it goes on where it was, to the same result: which examples
an item is shown, and which items are drawn, depends on the seed and the item's place alone.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from app.benchmarks.catalogue import BENCHMARKS
from app.runs.evaluation_config import EvaluationConfig
from workers.benchmarks.harness import VERSION
from workers.benchmarks.judges import Judges, load_judges
from workers.benchmarks.reader import Reader
from workers.benchmarks.results import Result, figure
from workers.benchmarks.rows import Row
from workers.benchmarks.units import Unit, plan
from workers.training.checkpoints import tell
from workers.training.loop import ALL_THREADS, CannotTrain, OnStep, Signal, Step
from workers.training.pieces import appending, read_pieces

FILE = "measured.jsonl"
PIECE_BATCHES = 4  # items in a piece, in batches

Item = dict[str, Any]  # prompt, answers, references, scores by metric, is_cut


@dataclass(frozen=True, slots=True)
class Data:
    """The rows of a benchmark in its one shape, and where they came from."""

    rows: list[Row]
    source: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Measured:
    finished: bool
    step: int
    results: list[Result]


def measure(
    config: EvaluationConfig,
    on_step: OnStep,
    *,
    model: Path,
    data: Mapping[str, Data],
    checkpoints: Path,
    classifier: Path | None = None,
    truth_judge: Path | None = None,
    info_judge: Path | None = None,
    note: Callable[[str], None] | None = None,
) -> Measured:
    """Every figure of `config.benchmarks`. A benchmark that `data` has not is fetched from the Hub.

    When `on_step` answers STOP, what is done is kept and no figure is given; calling again does the rest.
    """
    torch.set_num_threads(config.threads or ALL_THREADS)
    judges = load_judges(
        [BENCHMARKS[key] for key in config.benchmarks], classifier=classifier, truth=truth_judge, info=info_judge,
        batch_size=config.batch_size,
    )  # fmt: skip
    reader = Reader(
        model, batch_size=config.batch_size, max_prompt_tokens=config.max_prompt_tokens,
        max_completion_tokens=config.max_completion_tokens, is_chat=config.is_chat,
    )  # fmt: skip
    units = plan(config, {key: each.rows for key, each in data.items()}, tokenizer=reader.tokenizer)
    size = PIECE_BATCHES * config.batch_size
    pieces = [(unit, unit.places[i : i + size]) for unit in units for i in range(0, len(unit.places), size)]
    folders = (model, classifier, truth_judge, info_judge)
    done = read_pieces(checkpoints / FILE, mark=_fingerprint(config, data, units, folders))
    for number, (unit, places) in enumerate(pieces[len(done) :], start=len(done) + 1):
        if note is not None:
            note(f"{unit.title}: item {unit.places.index(places[0]) + 1} of {len(unit.places)}")
        started = time.perf_counter()
        items = _measure_piece(unit, places, reader, judges, seed=config.seed)
        metrics = {"items_per_second": len(items) / (time.perf_counter() - started)}
        done.append(items)
        step = Step(number, len(pieces), metrics)
        signal = tell(on_step, step, partial(appending, checkpoints / FILE, items), due=True)
        if signal is Signal.STOP and number < len(pieces):
            return Measured(finished=False, step=number, results=[])
    results = []
    for unit in units:
        items = [item for (of, _), kept in zip(pieces, done, strict=True) if of is unit for item in kept]
        results += _results(config, unit, items, data.get(unit.benchmark.key), judges)
    return Measured(finished=True, step=len(pieces), results=results)


def _measure_piece(unit: Unit, places: Sequence[int], reader: Reader, judges: Judges, *, seed: int) -> list[Item]:
    """The items at these places: asked, answered, scored."""
    task = unit.task
    docs = [task.task_docs[place] for place in places]
    requests = [unit.requests(doc, place, seed=seed) for doc, place in zip(docs, places, strict=True)]
    if reader.is_chat:
        requests = [[reader.as_chat(instance) for instance in own] for own in requests]
    task._instances = [instance for own in requests for instance in own]
    reader.answer(task.instances)
    task.apply_filters()
    items = [_item(unit, doc, own, reader) for doc, own in zip(docs, requests, strict=True)]
    judges.score(docs, items, unit.benchmark.needs)
    return items


def _item(unit: Unit, doc: Row, own: Sequence[Any], reader: Reader) -> Item:
    """What was asked, answered and found of one item, as JSON."""
    (kind,) = own[0].filtered_resps
    found = unit.task.process_results(doc, [instance.filtered_resps[kind] for instance in own])
    ends = [reader.read_of(instance) for instance in own]
    context, rest = own[0].arguments
    scores = {key: _plain(value) for key, value in found.items()}
    for score in scores.values():
        if isinstance(score, float) and not math.isfinite(score):
            raise CannotTrain(
                f"{unit.title}: the model gives no number for the item that begins {str(context)[:80]!r}. Its weights "
                "or its arithmetic may be broken; without this benchmark the others can be measured."
            )
    return {
        "prompt": next((end for end in ends if end is not None), context if context.strip() else str(rest)),
        "is_cut": any(end is not None for end in ends),
        "answers": [_answer(instance) for instance in own],
        "references": unit.references(doc),
        "scores": scores,
    }


def _answer(instance: Any) -> Any:
    response = instance.resps[0]
    if isinstance(response, str):
        return response
    return {"text": instance.arguments[1], "logprob": response[0], "is_greedy": response[1]}


def _plain(value: Any) -> Any:
    """As JSON: a text, what belongs to a corpus's figure, or a number."""
    return value if isinstance(value, str) else list(value) if isinstance(value, tuple | list) else float(value)


def _results(
    config: EvaluationConfig, unit: Unit, items: list[Item], data: Data | None, judges: Judges
) -> list[Result]:
    made = []
    for metric in unit.benchmark.metrics:
        name = unit.name_of(metric)
        scored = [item for item in items if name in item["scores"]]
        if not scored:
            continue  # no judge of helpfulness was named, or no question is of this part
        found = figure(metric, [item["scores"][name] for item in scored])
        made.append(
            Result(
                benchmark=unit.benchmark.key, style=unit.style, few_shot=unit.few_shot, metric=metric.key,
                value=found.value, low=found.low, high=found.high, n=len(scored),
                cut=sum(item["is_cut"] for item in scored), prompt=scored[0]["prompt"],
                decoding=unit.decoding(config), task=f"{unit.task.config.task} {unit.task.VERSION}, "
                f"lm-evaluation-harness {VERSION}",
                scorer=judges.scorer(unit.benchmark.needs) or unit.scorer(metric, found.signature),
                data_source=data.source if data else unit.hub,
                data_sha256=data.sha256 if data else unit.sha256,
                item_scores=found.item_scores,
                items=[{key: value for key, value in item.items() if key != "scores"} | {"score": item["scores"][name]}
                       for item in scored],
            )
        )  # fmt: skip
    return made


def _fingerprint(
    config: EvaluationConfig, data: Mapping[str, Data], units: Sequence[Unit], folders: Sequence[Path | None]
) -> str:
    """What the finished pieces were made from; threads change no result that matters here."""
    settings = config.model_dump_json(exclude={"threads"})
    hashes = {key: data[key].sha256 for key in sorted(data)}
    hashes |= {unit.benchmark.key: unit.sha256 for unit in units if unit.benchmark.key not in data}
    parts = [[unit.title, unit.places] for unit in units]
    made_of = json.dumps([settings, hashes, parts, [str(folder) for folder in folders], VERSION])
    return hashlib.sha256(made_of.encode()).hexdigest()
