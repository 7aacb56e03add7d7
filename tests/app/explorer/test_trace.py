"""From a prompt or a labeler to every snapshot and model that holds something of theirs, and withdrawing a prompt."""

import pytest
from sqlalchemy import select

from app.accounts.models import AuditEvent, Person
from app.core.db import reading_one_state, writing
from app.datasets import service as datasets
from app.datasets.models import Snapshot, SnapshotKind
from app.projects.models import Project
from app.prompts.models import Prompt
from app.registry.models import Model, ModelKind
from app.runs.configs import RunKind
from app.runs.models import RunInput, RunState
from tests.app.datasets.labels import make_demonstration, make_ranking
from tests.app.runs.rows import make_run
from tests.conftest import SignIn
from tests.factories import make_model, make_person, make_project, make_prompt


def freeze(project: Project, kind: SnapshotKind) -> Snapshot:
    with reading_one_state() as session:
        frozen = datasets.freeze(session, project, kind, {}, refuse_empty=True)
    with writing() as session:
        return datasets.keep(session, frozen, None)


def make_trained(project: Project, kind: RunKind, name: str, **inputs: Model | Snapshot) -> Model:
    """A model whose run read these."""
    with writing() as session:
        run = make_run(session, project, kind=kind, name=name, state=RunState.succeeded)
        for part, each in inputs.items():
            is_model = isinstance(each, Model)
            session.merge(RunInput(run_id=run.id, part=part, model_id=each.id if is_model else None,
                                   snapshot_id=None if is_model else each.id))  # fmt: skip
        model = make_model(session, project, kind=ModelKind.reward if kind == RunKind.reward_model else ModelKind.sft)
        model.name, model.run_id, model.storage_key = name, run.id, f"models/{run.id}"
    return model


@pytest.fixture
def whale(project: Project, labeler: Person) -> Prompt:
    """A prompt that is demonstrated, ranked, frozen, and trained on, beside one that has nothing to do with it."""
    with writing() as session:
        whale, other = make_prompt(session, project, text="A whale."), make_prompt(session, project, text="A dog.")
        make_demonstration(session, other, make_person(session, project=project))
    demonstrated = freeze(project, SnapshotKind.demonstrations)  # holds nothing of the whale
    with writing() as session:
        make_ranking(session, project, labeler, [1, 2], prompt=session.merge(whale))
        make_ranking(session, project, labeler, [1, 2], prompt=session.merge(other))
    ranked = freeze(project, SnapshotKind.comparisons)
    sft = make_trained(project, RunKind.sft, "sft-of-others", demonstrations=demonstrated)
    reward = make_trained(project, RunKind.reward_model, "rm-of-whale", base=sft, comparisons=ranked)
    make_trained(project, RunKind.ppo, "ppo-of-whale", policy=sft, reward_model=reward)
    return whale


def test_a_prompts_trace_goes_on_to_models_that_came_of_its_models(
    sign_in: SignIn, researcher: Person, project: Project, whale: Prompt
) -> None:
    page = sign_in(researcher).get(f"/p/{project.slug}/explore/trace?prompt={whale.id}&figures=true").text
    assert "comparisons@" in page
    assert "demonstrations@" not in page
    assert "rankings: comparisons@" in page
    assert "reward model: rm-of-whale" in page
    assert "sft-of-others" not in page


def test_a_labelers_trace_counts_their_rows(
    sign_in: SignIn, researcher: Person, labeler: Person, project: Project, whale: Prompt
) -> None:
    client, address = sign_in(researcher), f"/p/{project.slug}/explore/trace"
    page = client.get(f"{address}?labeler={labeler.id}&figures=true").text
    assert '<td class="num">2</td><td class="num soft">2</td>' in page
    assert "ppo-of-whale" in page
    idle = client.get(f"{address}?labeler={researcher.id}&figures=true").text
    assert "No snapshot holds anything" in idle
    assert "No model came of" in idle


def test_the_page_is_there_before_the_snapshots_are_read(
    sign_in: SignIn, researcher: Person, project: Project, whale: Prompt
) -> None:
    page = sign_in(researcher).get(f"/p/{project.slug}/explore/trace?prompt={whale.id}").text
    assert "being worked out" in page
    assert f"explore/trace?prompt={whale.id}&amp;figures=true" in page


def test_a_withdrawn_prompt_is_in_no_new_snapshot_and_can_be_taken_back(
    sign_in: SignIn, admin: Person, researcher: Person, project: Project, whale: Prompt
) -> None:
    story = f"/p/{project.slug}/explore/prompts/{whale.id}"
    assert sign_in(researcher).post(f"{story}/withdraw").status_code == 403
    client = sign_in(admin)
    for _ in range(2):
        assert client.post(f"{story}/withdraw").status_code == 303
    assert "It is withdrawn" in client.get(story).text
    assert freeze(project, SnapshotKind.comparisons).rows == 1
    client.post(f"{story}/take-back")
    assert freeze(project, SnapshotKind.comparisons).rows == 2
    with writing() as session:
        done = [event.action for event in session.scalars(select(AuditEvent)) if event.subject_id == whale.id]
    assert done == ["prompt.withdraw", "prompt.take_back"]


def test_a_trace_of_nothing_and_of_another_project_is_refused(
    sign_in: SignIn, researcher: Person, labeler: Person, project: Project
) -> None:
    with writing() as session:
        other = make_prompt(session, make_project(session))
    client, address = sign_in(researcher), f"/p/{project.slug}/explore/trace"
    assert client.get(address).status_code == 422
    assert client.get(f"{address}?prompt={other.id}").status_code == 404
    assert sign_in(labeler).get(f"{address}?prompt={other.id}").status_code == 403
