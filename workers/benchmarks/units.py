"""What a run measures: each benchmark in each of its styles and numbers of examples, as a task of the harness."""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from datasets.exceptions import DatasetNotFoundError
from lm_eval.api.instance import Instance
from lm_eval.api.task import Task
from transformers import PreTrainedTokenizerBase

from app.benchmarks.catalogue import BENCHMARKS, Benchmark, Metric, Needs, Style, few_shots
from app.runs.evaluation_config import EvaluationConfig
from workers.benchmarks.harness import THEIRS, our_task, their_task
from workers.benchmarks.hub import hub_rows, unfetched
from workers.benchmarks.rows import Row
from workers.training.loop import CannotTrain


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """One way through a benchmark: `places` are those of the items that are measured, in the order of its rows."""

    benchmark: Benchmark
    style: Style
    few_shot: int
    task: Task
    places: list[int]
    sha256: str = ""  # of its rows, where they came from the Hub

    @property
    def title(self) -> str:
        shown = f"{self.few_shot} examples" if self.few_shot else "no examples"
        return f"{self.benchmark.title}, {self.style.replace('_', ' ')}, {shown}"

    @property
    def hub(self) -> str:
        """Where its data came from, with no file given: the harness's own tasks know places of their own."""
        if self.benchmark.ours:
            return f"hub:{self.benchmark.hub}"
        return ":".join(each for each in ("hub", self.task.DATASET_PATH, self.task.DATASET_NAME) if each)

    def requests(self, doc: Row, place: int, *, seed: int) -> list[Instance]:
        """What the model is asked about an item, after the examples that belong to its place."""
        if self.few_shot:
            self.task.sampler.set_rnd(f"{seed}/{self.benchmark.key}/{place}")
        context = self.task.fewshot_context(doc, num_fewshot=self.few_shot, gen_prefix=self.task.doc_to_prefix(doc))
        made = self.task.construct_requests(doc=doc, ctx=context, metadata=(self.task.config.task, place, 1))
        return made if isinstance(made, list) else [made]

    def references(self, doc: Row) -> Any:
        """What the right answer is, as the task has it."""
        return doc["references"] if "references" in doc else self.task.doc_to_target(doc)

    def name_of(self, metric: Metric) -> str:
        """What the task calls it."""
        theirs = THEIRS.get(self.benchmark.key)
        return dict(theirs.metrics).get(metric.key, metric.key) if theirs else metric.key

    def decoding(self, config: EvaluationConfig) -> dict[str, Any]:
        common = {"max_prompt_tokens": config.max_prompt_tokens, "is_chat": config.is_chat}
        if self.task.OUTPUT_TYPE != "generate_until" and not hasattr(self.task, "_rows"):
            return {"by": "log-probability", **common}
        until = (self.task.config.generation_kwargs or {}).get("until", ["\n"])
        return {"by": "greedy", "until": until, "max_completion_tokens": config.max_completion_tokens, **common}

    def scorer(self, metric: Metric, signature: str) -> str:
        if signature:
            return f"sacrebleu {signature}"
        said = (self.task.config.metadata or {}).get("scorer")
        return said or f"the harness's {self.name_of(metric)}"


def _sha256_of(docs: Iterable[Row]) -> str:
    digest = hashlib.sha256()
    for doc in docs:
        digest.update(json.dumps(doc, default=str).encode() + b"\n")
    return digest.hexdigest()


def plan(
    config: EvaluationConfig, rows: Mapping[str, Sequence[Row]], *, tokenizer: PreTrainedTokenizerBase
) -> list[Unit]:
    """Every unit of the run, in the order of its benchmarks; refuses in words what cannot be measured."""
    units = []
    for benchmark in (BENCHMARKS[key] for key in config.benchmarks):
        own = rows.get(benchmark.key)
        if own is None and benchmark.ours:
            own = hub_rows(benchmark)
        if own is not None and not own:
            raise CannotTrain(f"The data of {benchmark.title} has no rows.")
        shots = [n for n in few_shots(benchmark) if _is_wanted(config, benchmark, n)]
        for style in benchmark.styles:
            task = _task(benchmark, style, own)
            if benchmark.ours:
                task.tokenizer = tokenizer
            sha256 = "" if benchmark.key in rows else _sha256_of(task.task_docs)
            places = drawn(benchmark, task.task_docs, config.items, seed=config.seed)
            for few_shot in shots:
                _refuse_too_few(benchmark, task, few_shot)
                units.append(Unit(benchmark, style, few_shot, task, places, sha256))
    return units


def _is_wanted(config: EvaluationConfig, benchmark: Benchmark, few_shot: int) -> bool:
    if config.examples == "both" or not benchmark.few_shot:
        return True
    return bool(few_shot) == (config.examples == "few")


def _task(benchmark: Benchmark, style: Style, rows: Sequence[Row] | None) -> Task:
    if benchmark.ours:
        assert rows is not None
        return our_task(benchmark, style, rows)
    try:
        return their_task(benchmark, rows)
    except CannotTrain:
        raise
    except (OSError, RuntimeError, ValueError, DatasetNotFoundError) as problem:
        raise unfetched(benchmark, problem) from problem


def _refuse_too_few(benchmark: Benchmark, task: Task, few_shot: int) -> None:
    """An item is never shown itself, so there must be one more row than examples."""
    if few_shot and len(task.sampler.df) <= few_shot:
        raise CannotTrain(
            f"{benchmark.title} shows {few_shot} examples, and its data has {len(task.sampler.df)} rows to take them "
            'from. Upload a file with more rows, or set examples to "none".'
        )


def drawn(benchmark: Benchmark, docs: Sequence[Row], items: int, *, seed: int) -> list[int]:
    """The places of the items to measure, in order: all, or so many drawn by the seed.

    Prompts whose toxicity is known are drawn about evenly over it (appendix D): from each tenth of its scale as many.
    """
    if not items or items >= len(docs):
        return list(range(len(docs)))
    rng = random.Random(f"{seed}/{benchmark.key}")
    places = rng.sample(range(len(docs)), len(docs))
    toxicity = [doc.get("toxicity") for doc in docs] if benchmark.needs is Needs.toxicity_classifier else [None]
    if None not in toxicity:
        seen: Counter[int] = Counter()
        turn = {}  # which of its tenth a prompt is
        for place in places:
            tenth = min(int(10 * toxicity[place]), 9)
            turn[place] = seen[tenth]
            seen[tenth] += 1
        places.sort(key=turn.__getitem__)
    return sorted(places[:items])
