"""What a measurement reads beside its model: the benchmarks' files, and what scores where a count of words cannot."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.benchmarks.catalogue import BENCHMARKS, REWARD_BENCH, WITH_FILES, Benchmark, Needs
from app.benchmarks.models import BenchmarkFile
from app.benchmarks.service import files_in_use
from app.core.errors import Invalid
from app.projects.models import Project
from app.registry.models import Model
from app.runs.configs import RunConfig
from app.runs.evaluation_config import EvaluationConfig
from app.runs.forms import Control, FormField
from app.runs.models import Run, RunInput
from app.runs.reward_evaluation_config import RewardEvaluationConfig

PART = "data."  # before a benchmark's key: the part that its file plays
SCORED_BY = {Needs.toxicity_classifier: ("toxicity_classifier",), Needs.truth_judge: ("truth_judge", "info_judge")}
_SCORERS = tuple(part for parts in SCORED_BY.values() for part in parts)
_CALLED = {"toxicity_classifier": "a toxicity classifier", "truth_judge": "a judge of truth"}


def needed_models(config: RunConfig, models: Mapping[str, Model]) -> dict[str, Model]:
    """Without the scorers that nothing measured needs; one that is needed and was not chosen is refused. Without a
    judge of information TruthfulQA has its first figure only."""
    if not isinstance(config, EvaluationConfig):
        return dict(models)
    needed = {part: each for each in _chosen(config) if each.needs for part in SCORED_BY[each.needs]}
    wrong = {part: f"{each.title} is scored by {_CALLED[part]}." for part, each in needed.items()
             if part in _CALLED and part not in models}  # fmt: skip
    if wrong:
        raise Invalid(
            next(iter(wrong.values())),
            mend="Choose one, or leave that benchmark out. Classifiers are added on the page of models, or by "
            "`touchstone models add --kind classifier`.",
            fields=wrong,
        )
    return {part: model for part, model in models.items() if part not in _SCORERS or part in needed}


def newest_files(session: Session, project: Project, config: RunConfig) -> dict[str, uuid.UUID]:
    """The file of each benchmark that has one, by the part it plays; one without file or Hub is refused."""
    files = files_in_use(session, project)
    if isinstance(config, RewardEvaluationConfig) and config.reward_bench:
        return {PART + REWARD_BENCH.key: _reward_bench(files).id}
    if not isinstance(config, EvaluationConfig):
        return {}
    lacking = [each for each in _chosen(config) if each.key not in files and not each.hub]
    if lacking:
        titles = ", ".join(each.title for each in lacking)
        raise Invalid(
            f"There is no data for {titles}.",
            mend=f"Upload a file on the page of benchmarks: {'; '.join(each.file for each in lacking)}.",
            fields={"benchmarks": f"No file yet: {titles}."},
        )
    _refuse_few_rows(config, files)
    return {PART + key: files[key].id for key in config.benchmarks if key in files}


def files_of(session: Session, run: Run) -> list[BenchmarkFile]:
    """Those that the run was made with."""
    query = select(BenchmarkFile).join(RunInput, RunInput.file_id == BenchmarkFile.id)
    return list(session.scalars(query.where(RunInput.run_id == run.id, RunInput.part.startswith(PART))))


def _refuse_few_rows(config: EvaluationConfig, files: Mapping[str, BenchmarkFile]) -> None:
    """An item is never shown itself, so there must be one more row than examples."""
    few = [each for each in _chosen(config) if each.key in files and files[each.key].rows <= each.few_shot]
    if few and config.examples != "none":
        told = ", ".join(f"{each.title} ({files[each.key].rows} rows, {each.few_shot} examples)" for each in few)
        raise Invalid(
            f"There are too few rows to show examples: {told}.",
            mend="Upload a file with more rows, or measure without examples.",
            fields={"benchmarks": f"Too few rows: {told}.", "examples": "none asks for no rows beside the item's own."},
        )


def _reward_bench(files: Mapping[str, BenchmarkFile]) -> BenchmarkFile:
    if REWARD_BENCH.key not in files:
        raise Invalid(
            "There is no RewardBench file.",
            mend=f"Upload one on the page of benchmarks ({REWARD_BENCH.file}), or leave it out.",
            fields={"reward_bench": "No file yet."},
        )
    return files[REWARD_BENCH.key]


def label_of(file: BenchmarkFile) -> str:
    return f"Data of {WITH_FILES[file.benchmark].title}"


def with_notes(session: Session, project: Project, field: FormField) -> FormField:
    """Boxes of benchmarks with where their data would come from."""
    if field.control != Control.several:
        return field
    files = files_in_use(session, project)
    return replace(field, groups=tuple(
        (heading, tuple(replace(box, note=f"{box.note} {_from(BENCHMARKS[box.value], files)}") for box in boxes))
        for heading, boxes in field.groups
    ))  # fmt: skip


def _from(benchmark: Benchmark, files: Mapping[str, BenchmarkFile]) -> str:
    if benchmark.key in files:
        return f"{files[benchmark.key].name}, {files[benchmark.key].rows:,} rows."
    return "Data from the Hub." if benchmark.hub else "No file yet."


def _chosen(config: EvaluationConfig) -> Iterable[Benchmark]:
    return (BENCHMARKS[key] for key in config.benchmarks)
