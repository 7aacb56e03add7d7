"""Outputs of models from elsewhere: taken once, judged beside the project's own, never trained on."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.core.db import reading, writing
from app.evals.outputs import Brought, bring_outputs
from app.labeling.models import Batch, BatchKind, Completion, Item, ItemCompletion
from app.projects.models import Project
from app.prompts.models import Prompt, Split
from app.prompts.readers import ImportFormat, read_rows
from app.prompts.service import withdraw
from app.registry.models import Model, ModelKind
from tests.factories import make_completion, make_model, make_person, make_project, make_prompt

SignIn = Callable[[Person], TestClient]
EVALS = Path(__file__).parents[4] / "shared" / "data" / "evals"
FOX = "Write a story about a fox."


def lines(*rows: object) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


def bring(session: Session, project: Project, content: bytes, form: ImportFormat = ImportFormat.jsonl) -> Brought:
    rows = read_rows(content, form, needed=None)
    return bring_outputs(session, project, rows, source="flan.jsonl", by=make_person(session))


def row(model: str, output: str, prompt: str = FOX) -> dict[str, str]:
    return {"prompt": prompt, "model": model, "output": output}


def test_outputs_become_completions_of_models_that_are_not_here(session: Session) -> None:
    project = make_project(session)
    brought = bring(session, project, lines(row("flan", "One."), row("t0 (3B)", "Two."), row("flan", "Three.", "Why?")))
    assert (brought.taken, brought.new_prompts, brought.refused) == (3, 2, [])
    assert brought.models == {"flan": 2, "t0-3B": 1}
    models = session.scalars(select(Model).where(Model.project_id == project.id)).all()
    assert {(each.name, each.kind, each.storage_key) for each in models} == {
        ("flan", ModelKind.outside, None), ("t0-3B", ModelKind.outside, None),
    }  # fmt: skip
    assert set(session.scalars(select(Prompt.split))) == {Split.test}, "nothing is trained on them"


def test_a_prompt_of_the_pool_is_known_again_and_stays_as_it_is(session: Session) -> None:
    project = make_project(session)
    mine = make_prompt(session, project, text=FOX, split=Split.valid)
    brought = bring(session, project, lines(row("flan", "One.")))
    assert (brought.taken, brought.new_prompts) == (1, 0)
    assert session.scalars(select(Completion.prompt_id)).all() == [mine.id]
    assert mine.split == Split.valid


def test_the_same_file_again_brings_nothing_twice(session: Session) -> None:
    project = make_project(session)
    content = lines(row("flan", "One."), row("flan", "One."), row("flan", "Another."))
    first, again = bring(session, project, content), bring(session, project, content)
    assert (first.taken, first.known) == (2, 1)
    assert (again.taken, again.known, again.new_prompts) == (0, 3, 0)
    assert session.scalar(select(func.count()).select_from(Completion)) == 2
    assert session.scalars(select(Completion.number).order_by(Completion.number)).all() == [0, 1]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"model": "flan", "output": "One."}, "has no prompt"),
        ({"prompt": FOX, "output": "One."}, "names no model"),
        ({"prompt": FOX, "model": "flan", "output": "  "}, "has no output"),
        ({"prompt": FOX, "model": "flan", "output": 7}, "has no output"),
        ({"prompt": {"a": 1}, "model": "flan", "output": "One."}, ""),
        (3, "is not an object"),
        ([1], "is not an object"),
        ({"prompt": FOX, "model": "flan", "output": "x" * 100_001}, "more than 100,000 characters"),
    ],
)
def test_a_row_that_can_not_be_taken_is_told_and_the_others_are_taken(session: Session, bad: object, said: str) -> None:
    brought = bring(session, make_project(session), lines(row("flan", "Good.", "Why?"), bad))
    assert brought.taken == 1
    ((number, reason),) = brought.refused
    assert number == 2
    assert said in reason


def test_a_withdrawn_prompt_gets_no_outputs(session: Session) -> None:
    project = make_project(session)
    withdraw(session, make_prompt(session, project, text=FOX), by=make_person(session))
    brought = bring(session, project, lines(row("flan", "One.")))
    assert (brought.taken, brought.refused) == (0, [(1, "has a prompt that was withdrawn")])


def test_a_name_that_a_model_of_the_project_has_is_refused(session: Session) -> None:
    project = make_project(session)
    make_model(session, project, name="sft")
    brought = bring(session, project, lines(row("sft", "One."), row("flan", "Two.")))
    assert brought.models == {"flan": 1}
    assert "sft is a model of this project" in brought.refused[0][1]


def test_models_whose_names_are_alike_once_cleaned_stay_apart(session: Session) -> None:
    project = make_project(session)
    content = lines(*(row(name, "One.") for name in ("gpt 4", "gpt-4", "模型", "модель")))
    assert bring(session, project, content).models == {"gpt-4": 1, "gpt-4-2": 1, "outside": 1, "outside-2": 1}
    assert bring(session, project, content).known == 4


def test_instructions_with_inputs_tables_and_conversations_are_prompts_too(session: Session) -> None:
    project = make_project(session)
    turns = [
        {"role": "user", "content": "Hi."},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": FOX},
    ]
    brought = bring(session, project, lines(
        {"instruction": "Shorten it.", "input": "A long text.", "model": "a", "response": "Short."},
        {"messages": turns, "generator": "b", "completion": "A tale."},
    ))  # fmt: skip
    assert brought.taken == 2, brought.refused
    kept = [prompt.messages for prompt in session.scalars(select(Prompt).order_by(Prompt.created_at, Prompt.id))]
    assert sorted(len(each) for each in kept) == [1, 3]
    assert "Shorten it.\n\nA long text." in {each[-1]["content"] for each in kept}
    table = b'question,model_type,sample\r\nWhy?,gpt-xl,"Because, so."\r\n'
    assert bring(session, project, table, ImportFormat.csv).models == {"gpt-xl": 1}


def test_head_to_head_takes_the_newest_of_each_of_prompts_that_all_wrote_for(
    sign_in: SignIn, admin: Person, project: Project
) -> None:
    with writing() as session:
        own = make_model(session, project, kind=ModelKind.sft, name="own")
        both, alone = make_prompt(session, project, text=FOX, split=Split.test), make_prompt(session, project)
        make_completion(session, both, model=own)
        newest = make_completion(session, both, model=own)
        make_completion(session, alone, model=own)
        best = make_completion(session, both, model=own)
        best.settings = {"best_of": 8}
    client = sign_in(admin)
    page = client.post(f"/p/{project.slug}/evaluations/outputs", data={"pasted": lines(row("flan", "One.")).decode()})
    assert "<b>1 output taken</b>" in page.text
    with reading() as session:
        models = {model.name: model.id for model in session.scalars(select(Model))}
    asked = {"models": [str(models["own"]), str(models["flan"])], "overlap": "2", "split": "test"}
    answer = client.post(f"/p/{project.slug}/labeling/comparisons", data=asked)
    assert answer.status_code == 303, answer.text
    with reading() as session:
        (batch,) = session.scalars(select(Batch)).all()
        (item,) = session.scalars(select(Item)).all()
        shown = session.scalars(select(ItemCompletion.completion_id)).all()
        assert (batch.kind, item.prompt_id, len(shown)) == (BatchKind.evaluation, both.id, 2)
        assert newest.id in shown


@pytest.mark.parametrize(("chosen", "said"), [(["own"], "models"), (["own", "flan"], "no such prompt")])
def test_a_comparison_that_can_not_be_made_is_refused_in_words(
    sign_in: SignIn, admin: Person, project: Project, chosen: list[str], said: str
) -> None:
    with writing() as session:
        models = {name: make_model(session, project, name=name) for name in ("own", "flan")}
        for model in models.values():
            make_completion(session, make_prompt(session, project), model=model)
    asked = {"models": [str(models[name].id) for name in chosen], "overlap": "1"}
    answer = sign_in(admin).post(f"/p/{project.slug}/labeling/comparisons", data=asked)
    assert answer.status_code == 422
    assert said in answer.text
    assert f'value="{models["own"].id}" checked' in answer.text


def test_what_is_no_table_of_rows_is_refused_with_what_was_pasted(
    sign_in: SignIn, admin: Person, researcher: Person, project: Project
) -> None:
    address = f"/p/{project.slug}/evaluations/outputs"
    answer = sign_in(admin).post(address, data={"pasted": "A text alone."})
    assert answer.status_code == 422
    assert "These are not rows." in answer.text
    assert "A text alone." in answer.text
    assert sign_in(researcher).get(address).status_code == 403


def test_an_outside_models_page_offers_nothing_that_needs_the_model(
    sign_in: SignIn, admin: Person, project: Project
) -> None:
    with writing() as session:
        model = make_model(session, project, kind=ModelKind.outside, name="flan")
        model.storage_key = None
        writer = make_model(session, project, kind=ModelKind.sft, name="sft-1")
    client = sign_in(admin)
    page = client.get(f"/p/{project.slug}/models/{model.id}").text
    assert "What it wrote" in page
    for offered in ("Playground", "Train SFT", "Sample…", "The folder"):
        assert offered not in page
    assert "Outside" in client.get(f"/p/{project.slug}/models").text
    assert client.get(f"/p/{project.slug}/models/{model.id}/card.md").status_code == 200
    for address in ("models/playground", "runs/new/sampling", "runs/new/sft"):
        form = client.get(f"/p/{project.slug}/{address}").text
        assert str(writer.id) in form
        assert str(model.id) not in form


@pytest.mark.skipif(not EVALS.is_dir(), reason="no ../shared/data/evals beside the checkout")
def test_a_real_file_of_eight_models_outputs_comes_in_whole(session: Session) -> None:
    content = gzip.decompress((EVALS / "user_oriented_predictions_8models.jsonl.gz").read_bytes())
    brought = bring(session, make_project(session), content)
    assert len(brought.models) == 8
    assert brought.taken + brought.known + len(brought.refused) == 2016
    assert all("has no output" in reason for _, reason in brought.refused)
