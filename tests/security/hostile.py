"""An installation with something in every room, and every text in it written by somebody who means harm."""

import uuid
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, Enum, String, Table, Text, select, update
from sqlalchemy.orm import Session

from app.accounts import audit, tokens
from app.accounts import service as accounts
from app.accounts.models import Person, PersonState, Role
from app.core.clock import now
from app.core.db import Base, reading, reading_one_state, writing
from app.datasets import service as datasets
from app.datasets.models import SnapshotKind
from app.labeling import service as labeling
from app.labeling.leases import lease_next
from app.labeling.models import Assignment, AssignmentState, BatchKind, Demonstration, Report, ReportKind
from app.labeling.schemas import Submission
from app.labeling.self_assessment import SelfAssessed, assess
from app.labeling.submissions import submit
from app.prefixes.service import PrefixCreate, write_prefix
from app.projects import service as projects
from app.projects.models import GuidelinesKind, Project
from app.prompts.models import ImportedRow, ImportFormat, ImportState, PromptImport, UseCase, Verdict
from app.quality.models import Exclusion
from app.registry.models import Model, ModelKind, ModelState
from app.runs.configs import RunKind
from app.runs.models import RunLogLine, RunMetric, RunSample, RunState, Worker
from app.webhooks import service as webhooks
from app.webhooks.models import Event
from tests.app.evals.benchmark_rows import make_measurement, make_result
from tests.app.evals.test_contests import a_contest
from tests.app.evals.test_service import rank as judge
from tests.app.labeling.rows import make_demonstration_batch, make_ranking_batch
from tests.app.quality.rows import make_batch, make_item, rank
from tests.app.runs.rows import make_run
from tests.factories import make_model, make_person, make_prompt

# Markup that would run if it were not escaped in a text, an attribute of either quote, a script or a title; and
# Markdown that would lead or load.
HOSTILE = (
    "x'\"></title></textarea></script><img src=/hacked onerror=hacked()><script>hacked()</script>"
    "<svg/onload=hacked()> [a](javascript:hacked()) ![b](/hacked) {{7*7}} ${7*7}"
)
# What other code goes by: not for people to write, and checked before it is kept.
NOT_FREE = {
    "slug", "sha256", "content_hash", "token_hash", "password_hash", "storage_key", "upload_key", "sealed_secret",
    "task", "metric", "benchmark", "style", "action", "subject_kind", "version", "claimed_by", "claim", "part", "url",
    "payload", "account", "address", "submission_key", "language", "version_num", "data_sha256", "separator", "frame",
    "source_organisation",
}  # fmt: skip


def fill(project: Project, people: dict[Role, Person]) -> None:
    """Every room's rows, with the tests' own makers; then every free text becomes hostile."""
    admin, labeler = people[Role.admin], people[Role.labeler]
    with writing() as session:
        _label(session, project, labeler, admin)
        _bring_prompts(session, project, admin)
        models = _add_models(session, project, admin)
        _run_everything(session, project, models)
        _evaluate(session, project, labeler, models)
        _administer(session, project, admin, labeler)
    with reading_one_state() as session:
        frozen = [
            datasets.freeze(session, project, kind, {}) for kind in (SnapshotKind.demonstrations, SnapshotKind.prompts)
        ]
    with writing() as session:
        for snapshot in frozen:
            datasets.keep(session, snapshot, admin)
    with writing() as session:
        poison(session)


def _label(session: Session, project: Project, labeler: Person, admin: Person) -> None:
    batch = make_ranking_batch(session, project, items=3, overlap=2, name="Ranked", use_case=UseCase.summarization)
    while (held := lease_next(session, labeler, project)) is not None and held.item_id:
        sent = Submission(ranks={"A": 1, "B": 2, "C": 2, "D": 3}, note="A is best.", submission_key=str(uuid.uuid4()))
        submit(session, labeler, held.id, sent)
    make_demonstration_batch(session, project)
    held = lease_next(session, labeler, project)
    assert held is not None
    submit(session, labeler, held.id, Submission(text="A dog ran home.", submission_key=str(uuid.uuid4())))
    labeling.create_grading_batch(session, project, demonstrations=session.scalars(select(Demonstration)).all())
    for kind in ReportKind:
        told = Report(
            project_id=project.id, batch_id=batch.id, person_id=labeler.id, kind=kind, reason="r", details="d"
        )
        session.add(told)
    contested = make_item(session, project, make_batch(session, project, name="Contested"), completions=3)
    for person, ranks in ((labeler, (1, 2, 3)), (make_person(session, project=project), (3, 2, 1))):
        rank(session, contested, person, ranks, note="Because.")
    make_item(session, project, make_batch(session, project, name="Known"), gold=(1, 2, 3))
    candidate = make_person(session, project=project)
    candidate.state = PersonState.screening
    prompt = make_prompt(session, project, text="May I?")
    labeling.create_screening_batch(session, project, answered=1, prompts=[prompt])
    while (held := lease_next(session, candidate, project)) is not None:
        ranks = dict.fromkeys("ABC", 1)
        said: dict[str, Any] = {"ranks": ranks} if held.shown_order else {"text": "It depends."}
        submit(session, candidate, held.id, Submission(**said, submission_key=str(uuid.uuid4())))
    assess(session, candidate, project, SelfAssessed(topics=["religion"], languages="Yoruba"))
    excluded = Exclusion(project_id=project.id, person_id=labeler.id, reason="r", by_id=admin.id, lifted_at=now())
    session.add(excluded)


def _bring_prompts(session: Session, project: Project, admin: Person) -> None:
    make_prompt(session, project)
    for state in (ImportState.queued, ImportState.done, ImportState.failed):
        row = PromptImport(project_id=project.id, name="a.jsonl", format=ImportFormat.jsonl, settings={}, state=state,
                           size=9, error="e", created_by=admin.id, note="n", finished_at=now())  # fmt: skip
        session.add(row)
        session.flush()
        for verdict in (Verdict.refused, Verdict.duplicate):
            session.add(ImportedRow(import_id=row.id, number=1, verdict=verdict, reason="r", opening="o"))


def _add_models(session: Session, project: Project, admin: Person) -> list[Model]:
    made = [make_model(session, project, kind=kind) for kind in ModelKind]
    refused = make_model(session, project)
    refused.state, refused.error, refused.notes = ModelState.refused, "It keeps its weights as pickle.", "n"
    made[1].parent_id = made[0].id
    prefix = PrefixCreate(name="helpful", text="Prompt: Hi.\nAnswer: Hello.\n\n")
    write_prefix(session, project, prefix, by=admin)
    return made


def _run_everything(session: Session, project: Project, models: list[Model]) -> None:
    for kind in RunKind:
        run = make_run(session, project, kind=kind, name=f"run-{kind.value}", model=models[0])
        run.state, run.error, run.progress_note, run.code_version = RunState.failed, "e", "n", "c"
        run.started_at = run.finished_at = now()
        if kind is RunKind.prefix_contest:
            run.state, run.result = RunState.succeeded, {"contest": a_contest()}
        for step in (1, 2):
            session.add(RunMetric(run_id=run.id, step=step, values={"loss": 1.0 / step}))
        session.add(RunSample(run_id=run.id, step=1, prompt="p", before="b", after="a"))
        session.add(RunLogLine(run_id=run.id, text="t"))
        session.add(Worker(name=f"w-{kind.value}", device="d", run_id=run.id))


def _evaluate(session: Session, project: Project, labeler: Person, models: list[Model]) -> None:
    first, second = models[1], models[3]
    for _ in range(3):
        judged = judge(session, project, labeler, {first: 1, second: 2}, kind=BatchKind.evaluation)
        session.get_one(Assignment, judged.assignment_id).state = AssignmentState.submitted
    for model in (first, second):
        make_result(session, make_measurement(session, project, model), model, "sst", [0.0, 1.0, 1.0, 0.0])


def _administer(session: Session, project: Project, admin: Person, labeler: Person) -> None:
    told = webhooks.create(session, project, url="https://93.184.215.14/x", events=["run.finished"], by=admin)
    webhooks.ping(session, told)
    webhooks.publish(session, project.id, Event.run_finished, name="x")
    for person in (admin, labeler):
        tokens.create_token(session, person, name="notebook", scope=tokens.Scope.read, days=1)
    accounts.new_sign_in_link(session, make_person(session))
    projects.publish_guidelines(session, project, GuidelinesKind.ranking, HOSTILE)
    field = {"key": "overall", "label": HOSTILE[:80], "help": HOSTILE, "low": 1, "high": 7}
    flag = {"key": "hallucination", "label": HOSTILE[:80], "help": HOSTILE}
    projects.publish_rating_schema(session, project, {"likert": [field], "flags": [flag]})
    audit.record(session, admin, "person.paused", subject=labeler, reason=HOSTILE)


def poison(session: Session) -> None:
    """Every free text of every table, and every turn of every prompt, is HOSTILE; where it must be unique, numbered."""
    session.flush()
    for table in Base.metadata.sorted_tables:
        if table.name == "audit_event":
            continue
        texts = list(_free_texts(table))
        key = list(table.primary_key.columns)
        for number, row in enumerate(session.execute(select(*key)).all() if texts else ()):
            values = {column.name: f"{HOSTILE} {number}" for column in texts}
            session.execute(update(table).where(*(k == v for k, v in zip(key, row, strict=True))).values(values))
    prompts = Base.metadata.tables["prompt"]
    session.execute(update(prompts).values(messages=[{"role": "user", "content": HOSTILE}], flags=["violent"]))


def _free_texts(table: Table) -> Iterator[Column[Any]]:
    for column in table.columns:
        is_text = isinstance(column.type, String | Text) and not isinstance(column.type, Enum)
        if is_text and column.name not in NOT_FREE and not column.foreign_keys and not column.primary_key:
            yield column


def ids_of(table: str, name: str = "id") -> list[Any]:
    with reading() as session:
        return list(session.scalars(select(Base.metadata.tables[table].c[name])))
