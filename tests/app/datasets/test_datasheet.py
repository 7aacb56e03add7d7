"""A snapshot's datasheet says what it is made of, stays as it was, and names nobody."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.accounts.models import Group, Person
from app.core.db import writing
from app.core.storage import Artefacts
from app.datasets import service
from app.datasets.datasheet import manifest
from app.datasets.datasheet_text import as_markdown
from app.datasets.models import Snapshot, SnapshotKind
from app.datasets.tally import SharedItems
from app.labeling.models import Batch, Item, Ranking
from app.projects.models import Project
from app.projects.settings import change_settings
from app.prompts.models import Split, UseCase
from app.prompts.service import add_texts
from tests.app.datasets.labels import make_demonstration, make_ranking
from tests.app.quality.rows import make_batch, make_item, rank
from tests.conftest import SignIn
from tests.factories import make_person, make_project, make_prompt


@pytest.fixture
def artefacts(tmp_path: Path) -> Artefacts:
    (tmp_path / "store").mkdir()
    return Artefacts(str(tmp_path / "store"), tmp_path / "cache")


def freeze(session: Session, project: Project, store: Artefacts, kind: str = "comparisons", **wanted: Any) -> Snapshot:
    return service.keep(session, service.freeze(session, project, SnapshotKind(kind), wanted, artefacts=store), None)


def test_a_datasheet_counts_labelers_rules_and_flags(session: Session, artefacts: Artefacts) -> None:
    project = make_project(session)
    people = [make_person(session), make_person(session, is_simulated=True), make_person(session, group=Group.held_out)]
    for person in people:
        make_ranking(session, project, person, [1, 2, 3])
    ranking = make_ranking(
        session, project, people[0], [1, 1], prompt=make_prompt(session, project, use_case=UseCase.chat)
    )
    batch = session.get_one(Batch, session.get_one(Item, ranking.item_id).batch_id)
    batch.name = people[0].name
    snapshot = freeze(session, project, artefacts, purpose="evaluation")
    facts = snapshot.datasheet
    assert facts["groups"] == {"held_out": {"labelers": 1, "rows": 1}, "training": {"labelers": 2, "rows": 3}}
    assert (facts["simulated_labelers"], facts["use_cases"]) == (1, {"generation": 3, "chat": 1})
    assert (facts["guidelines"], facts["rating_schemas"]) == ({"ranking 1": 4}, {"1": 4})
    assert [(each["kind"], each["rows"]) for each in facts["batches"]] == [("ranking", 1)] * 4
    assert facts["flags"] == {"fails_task": {"set": 0, "asked": 11}, "hallucination": {"set": 3, "asked": 11}}
    text = as_markdown(snapshot)
    assert "1 labeler of the held-out group: 1 row" in text
    assert "Simulated: 1 labeler, 1 of 4 rows (25.0 %)" in text
    assert "Flag hallucination: set on 3 of 11 ratings that asked for it (27.3 %)" in text
    assert "For evaluation only" in text
    assert "nobody knows how far they agree" in text
    for person in people:
        assert person.name not in text + json.dumps(manifest(snapshot))


def test_agreement_is_that_of_the_snapshots_own_rows(session: Session, artefacts: Artefacts) -> None:
    project, people = make_project(session), [make_person(session) for _ in range(3)]
    batch = make_batch(session, project, name="Foxes")
    for number in range(4):
        item = make_item(session, project, batch)
        for place, person in enumerate(people):
            rank(session, item, person, [1, 2, 3] if number or place < 2 else [3, 2, 1])
    snapshot = freeze(session, project, artefacts)
    pairwise = snapshot.datasheet["agreement"]["pairwise"]
    assert (pairwise["n"], pairwise["items"], pairwise["value"]) == (36, 4, pytest.approx(30 / 36))
    assert {"alpha", "tau_b"} <= snapshot.datasheet["agreement"].keys()
    assert "83.3 %" in as_markdown(snapshot)


def test_the_sample_of_shared_items_is_bounded_and_the_same_in_any_order() -> None:
    rows = [
        {"prompt_id": str(n % 500), "completions": ["a", "b"], "ranks": [1, 2 - (n % 7 == 0)], "labeler": str(n // 500)}
        for n in range(1500)
    ]
    there, back = SharedItems(most=64), SharedItems(most=64)
    for row in rows:
        there.add(row)
    for row in reversed(rows):
        back.add(row)
    assert 8 < len(there.judged) <= 64
    assert there.figures() == back.figures() != {}
    whole = SharedItems()
    for row in rows:
        whole.add(row)
    assert len(whole.judged) == 500
    assert all(there.judged[item] == whole.judged[item] for item in there.judged)


def test_a_datasheet_stays_as_it_was(session: Session, artefacts: Artefacts) -> None:
    project, person = make_project(session), make_person(session)
    make_demonstration(session, make_prompt(session, project, split=Split.valid), person)
    typed = dict.fromkeys(("amend_minutes", "disturbing_per_day", "break_after_minutes", "use_case_votes"), "1")
    change_settings(session, project, {**typed, "licence": "CC-BY-4.0"}, by=person)
    first = freeze(session, project, artefacts, "demonstrations")
    change_settings(session, project, {**typed, "licence": ""}, by=person)
    again = freeze(session, project, artefacts, "demonstrations")
    assert again.id == first.id
    assert "Licence: CC-BY-4.0" in as_markdown(again)
    assert "Sources. labeling: 1" in as_markdown(again)


def test_every_kind_has_one(session: Session, artefacts: Artefacts) -> None:
    project = make_project(session, name="<b>Odd</b> _name_")
    make_prompt(session, project)
    add_texts(session, project, [("Plain.", Split.train)], source="s")
    for kind in SnapshotKind:
        text = as_markdown(freeze(session, project, artefacts, kind.value))
        assert text.startswith(f"# \\<b\\>Odd\\</b\\> \\_name\\_: {kind.value}@")
        assert "Licence: none was stated" in text


def test_it_stands_on_the_page_and_comes_as_markdown_and_json(
    sign_in: SignIn, researcher: Person, project: Project, labeler: Person
) -> None:
    with writing() as session:
        ranking: Ranking = make_ranking(session, project, labeler, [1, 2])
        assert ranking.id
    client = sign_in(researcher)
    page = client.post(f"/p/{project.slug}/datasets", data={"kind": "comparisons"}).headers["location"]
    assert "1 labeler of the training group: 1 row" in client.get(page).text
    text = client.get(f"{page}/datasheet.md")
    assert text.headers["content-type"] == "text/markdown; charset=utf-8"
    assert "## What it can't tell" in text.text
    told = client.get(f"{page}/manifest.json").json()
    assert (told["filter"], told["rows"], told["datasheet"]["purpose"]) == ({"include_simulated": False}, 1, "training")
    assert len(told["sha256"]) == 64
    assert labeler.name not in text.text + json.dumps(told)
    for name in ("datasheet.md", "manifest.json"):
        assert sign_in(labeler).get(f"{page}/{name}").status_code == 403
