"""Batches: made once, whole, under the newest rules; and their progress."""

from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.models import AuditEvent, Role
from app.core.clock import now
from app.core.errors import Conflict, Invalid
from app.labeling import choices, service
from app.labeling.leases import lease_next
from app.labeling.models import Batch, BatchKind, BatchState, Item, ItemCompletion
from app.labeling.progress import progress, sampled_runs
from app.labeling.schemas import Skip, Submission
from app.labeling.submissions import skip, submit
from app.projects import service as projects
from app.projects.models import GuidelinesKind, Project
from app.prompts.models import Split
from app.prompts.service import PromptFilter
from app.runs.configs import RunKind
from app.runs.models import Run
from tests.app.labeling.rows import make_demonstration_batch, make_ranking_batch
from tests.factories import make_completion, make_model, make_person, make_project, make_prompt


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


def make_run(session: Session, project: Project) -> Run:
    run = Run(project_id=project.id, name="sample", kind=RunKind.sampling, config={})
    session.add(run)
    session.flush()
    return run


def test_a_sampling_run_gets_one_batch_however_often_its_job_comes(session: Session, project: Project) -> None:
    run, prompt = make_run(session, project), make_prompt(session, project)
    completions = {prompt.id: [make_completion(session, prompt) for _ in range(4)]}
    first = service.create_ranking_batch(session, project, run_id=run.id, completions_by_prompt=completions)
    again = service.create_ranking_batch(session, project, run_id=run.id, completions_by_prompt=completions)
    assert again is first
    assert len(session.scalars(select(Item)).all()) == 1
    positions = session.scalars(select(ItemCompletion.position).order_by(ItemCompletion.position)).all()
    assert positions == [0, 1, 2, 3]


def test_completions_of_a_run_make_another_batch_for_evaluation(session: Session, project: Project) -> None:
    run, model = make_run(session, project), make_model(session, project, name="sft-1")
    for _ in range(2):
        prompt = make_prompt(session, project)
        for _ in range(3):
            make_completion(session, prompt, model=model).run_id = run.id
    session.flush()
    by_prompt = choices.completions_of_run(session, project, run.id)
    own = service.create_ranking_batch(session, project, completions_by_prompt=by_prompt, run_id=run.id)
    batch = service.create_ranking_batch(
        session, project, completions_by_prompt=by_prompt, kind=BatchKind.evaluation, overlap=2
    )
    assert [len(each) for each in by_prompt.values()] == [3, 3]
    assert (batch.kind, batch.run_id, batch.overlap) == (BatchKind.evaluation, None, 2)
    found = sampled_runs(session, project)
    assert [(each.run_id, each.models, each.prompts, each.completions) for each in found] == [(run.id, "sft-1", 2, 3)]
    assert found[0].sampled_at == own.created_at


def test_a_batch_keeps_the_rules_it_was_made_under(session: Session, project: Project) -> None:
    before = make_ranking_batch(session, project)
    newer = projects.publish_guidelines(session, project, GuidelinesKind.ranking, "New rules")
    after = make_ranking_batch(session, project)
    assert before.guidelines_id != newer.id
    assert after.guidelines_id == newer.id
    assert before.rating_schema_id is not None
    assert before.round_id == projects.current_round(session, project).id
    assert make_demonstration_batch(session, project).rating_schema_id is None


@pytest.mark.parametrize("count", [0, 1, 27])
def test_a_ranking_needs_two_to_twenty_six_completions(session: Session, project: Project, count: int) -> None:
    prompt = make_prompt(session, project)
    completions = [make_completion(session, prompt) for _ in range(count)]
    with pytest.raises(Invalid):
        service.create_ranking_batch(session, project, completions_by_prompt={prompt.id: completions})
    assert session.scalars(select(Batch)).all() == []


def test_nothing_to_label_makes_no_batch(session: Session, project: Project) -> None:
    with pytest.raises(Invalid, match="No prompt fits"):
        service.create_demonstration_batch(session, project, prompts=[])
    with pytest.raises(Invalid, match="no completions"):
        service.create_ranking_batch(session, project, completions_by_prompt={})
    with pytest.raises(Invalid):
        service.create_demonstration_batch(session, project, prompts=[make_prompt(session, project)], overlap=0)
    assert session.scalars(select(Batch)).all() == []


def test_prompts_are_asked_for_once(session: Session, project: Project) -> None:
    """Not those with a demonstration, nor those in an open batch; those of a closed batch come again."""
    written, asked, free, retired = (make_prompt(session, project) for _ in range(4))
    valid = make_prompt(session, project, split=Split.valid)
    mira = make_person(session, project=project)
    service.record_demonstration(session, written, mira, " A story. ")
    retired.is_retired = True
    batch = service.create_demonstration_batch(session, project, prompts=[asked])
    lacking = choices.prompts_without_demonstration(session, project, PromptFilter(split=Split.train))
    assert lacking == [free]
    assert choices.count_without_demonstration(session, project) == {Split.train: 1, Split.valid: 1}
    service.change_state(session, batch, BatchState.closed, by=mira)
    assert {each.id for each in choices.prompts_without_demonstration(session, project)} == {
        asked.id,
        free.id,
        valid.id,
    }
    assert len(choices.prompts_without_demonstration(session, project, limit=1)) == 1


def test_changes_of_a_batch_are_in_the_audit_log(session: Session, project: Project) -> None:
    admin = make_person(session, role=Role.admin)
    batch = make_ranking_batch(session, project)
    service.change_state(session, batch, BatchState.paused, by=admin)
    service.change_state(session, batch, BatchState.paused, by=admin)
    service.change_state(session, batch, BatchState.closed, by=admin)
    with pytest.raises(Conflict):
        service.change_state(session, batch, BatchState.paused, by=admin)
    query = select(AuditEvent.action).where(AuditEvent.subject_id == batch.id, AuditEvent.person_id == admin.id)
    assert sorted(session.scalars(query)) == ["batch.closed", "batch.paused"]


def test_an_empty_demonstration_is_not_recorded(session: Session, project: Project) -> None:
    with pytest.raises(Invalid):
        service.record_demonstration(session, make_prompt(session, project), make_person(session), "\n ")


def test_progress_counts_what_was_wanted_got_and_is_under_way(session: Session, project: Project) -> None:
    batch = make_ranking_batch(session, project, items=3, overlap=2)
    mira, noor, ines = (make_person(session, project=project) for _ in range(3))
    ranks = {"A": 1, "B": 2, "C": 3, "D": 4}
    for person, key in ((mira, "a" * 8), (noor, "b" * 8)):
        assignment = lease_next(session, person, project)
        assert assignment is not None
        submit(session, person, assignment.id, Submission(submission_key=key, ranks=ranks))
    skipped = lease_next(session, ines, project)
    assert skipped is not None
    skip(session, ines, skipped.id, Skip(reason="unsafe"))
    lease_next(session, ines, project)
    there = progress(session, batch)
    assert (there.items, there.wanted, there.got, there.left) == (3, 6, 2, 4)
    assert (there.leased, there.skipped, there.extra) == (1, 1, 0)


def test_judgments_beyond_those_wanted_are_extra(session: Session, project: Project) -> None:
    batch = make_ranking_batch(session, project)
    mira, noor = (make_person(session, project=project) for _ in range(2))
    ranks = {"A": 1, "B": 2, "C": 3, "D": 4}
    late = lease_next(session, mira, project)
    assert late is not None
    late.lease_until = now() - timedelta(seconds=1)
    session.flush()
    taken = lease_next(session, noor, project)
    assert taken is not None
    submit(session, noor, taken.id, Submission(submission_key="a" * 8, ranks=ranks))
    submit(session, mira, late.id, Submission(submission_key="b" * 8, ranks=ranks))
    there = progress(session, batch)
    assert (there.wanted, there.got, there.extra, there.left) == (1, 1, 1, 0)
