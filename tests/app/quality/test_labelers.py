"""Labelers' figures and facts from their rows, and what a labeler may be told."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from app.accounts.models import Person, Role
from app.labeling.models import BatchKind, Item, ItemPurpose
from app.projects.models import Project
from app.prompts.models import UseCase
from app.quality import evidence
from app.quality.exclusions import exclude
from app.quality.labelers import LabelerFigures
from app.quality.service import labeling_figures, own_figures, team_figures
from app.quality.work import newest_assignments, work_on
from tests.app.quality.rows import make_batch, make_item, rank
from tests.factories import make_person, make_project

MONDAY = datetime(2026, 1, 5, 9, tzinfo=UTC)


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


@pytest.fixture
def people(session: Session, project: Project) -> tuple[Person, Person, Person]:
    mira, noor, ines = (make_person(session, project=project) for _ in range(3))
    return mira, noor, ines


def figures_of(session: Session, project: Project, person: Person) -> LabelerFigures:
    (found,) = (each for each in labeling_figures(session, project).labelers if each.person.id == person.id)
    return found


def items(session: Session, project: Project, number: int, **facts: object) -> list[Item]:
    batch = make_batch(session, project)
    return [make_item(session, project, batch, **facts) for _ in range(number)]  # type: ignore[arg-type]


def test_gold_is_measured_by_first_answers(session: Session, project: Project, people: tuple[Person, ...]) -> None:
    mira, noor, _ = people
    (gold,) = items(session, project, 1, gold=[1, 2, 3])
    first = rank(session, gold, mira, [3, 2, 1])
    rank(session, gold, mira, [1, 2, 3], supersedes=first)
    rank(session, gold, noor, [1, 2, 2])
    assert figures_of(session, project, mira).gold.value == 0.0  # type: ignore[union-attr]
    found = figures_of(session, project, noor).gold
    assert found is not None
    assert (found.value, found.n, found.items) == (pytest.approx(2 / 3), 3, 1)
    whole = labeling_figures(session, project).gold
    assert whole is not None
    assert whole.value == pytest.approx(1 / 3)


def test_cannot_be_ranked_is_no_answer_to_gold(session: Session, project: Project, people: tuple[Person, ...]) -> None:
    (gold,) = items(session, project, 1, gold=[1, 2, 2], purpose=ItemPurpose.training)
    rank(session, gold, people[0], [], cannot_rank=True)
    found = figures_of(session, project, people[0]).gold
    assert found is not None
    assert (found.value, found.n) == (0.0, 2)


def test_a_hasty_labeler_of_constant_ratings_stands_out(
    session: Session, project: Project, people: tuple[Person, ...]
) -> None:
    mira, noor, bot = people
    for item in items(session, project, 12):
        for person in (mira, noor):
            rank(session, item, person, [1, 2, 3], seconds=200, likert=[{"overall": n} for n in (6, 4, 1)])
        rank(session, item, bot, [1, 2, 3], seconds=4, likert=[{"overall": 4}] * 3, order_touched=False)
    flags = {each.person.id: [flag.name for flag in each.flags] for each in labeling_figures(session, project).labelers}
    assert flags == {mira.id: [], noor.id: [], bot.id: ["fast", "untouched order", "constant ratings"]}
    assert [scale for scale, _ in labeling_figures(session, project).ratings] == ["overall"]


def test_what_stood_first_is_told_from_what_was_best(
    session: Session, project: Project, people: tuple[Person, ...]
) -> None:
    """One labeler ranks by the text, the other by the place on the page; both saw shuffled pages."""
    fair, leaning, _ = people
    orders = ([0, 1, 2], [1, 2, 0], [2, 0, 1])
    for number, item in enumerate(items(session, project, 36)):
        shown = orders[number % 3]
        rank(session, item, fair, [1, 2, 3], shown=shown)
        rank(session, item, leaning, [shown.index(n) + 1 for n in range(3)], shown=shown)
    assert figures_of(session, project, fair).flags == []
    assert [flag.name for flag in figures_of(session, project, leaning).flags] == ["position"]


def test_drift_is_seen_in_the_last_week(session: Session, project: Project, people: tuple[Person, ...]) -> None:
    mira, noor, ines = people
    for number, item in enumerate(items(session, project, 30)):
        made = MONDAY + timedelta(weeks=number // 15)
        for person in (mira, noor):
            rank(session, item, person, [1, 2, 3], made=made)
        rank(session, item, ines, [3, 2, 1] if number >= 15 else [1, 2, 3], made=made)
    names = [flag.name for flag in figures_of(session, project, ines).flags]
    assert names == ["drift"]
    weeks = labeling_figures(session, project).by_week
    assert [week for week, _ in weeks] == ["2026-01-05", "2026-01-12"]
    assert weeks[0][1].pairwise.value > weeks[1][1].pairwise.value  # type: ignore[union-attr]


def test_own_figures_are_of_ones_own_work(session: Session, project: Project, people: tuple[Person, ...]) -> None:
    mira, noor, ines = people
    for item in items(session, project, 3, gold=[1, 2, 3]):
        rank(session, item, mira, [1, 2, 3])
        rank(session, item, noor, [1, 2, 3])
        rank(session, item, ines, [3, 2, 1])
    own = own_figures(session, project, mira)
    assert own.agreement is not None
    assert own.gold is not None
    assert (own.agreement.value, own.agreement.n, own.gold.value) == (0.5, 18, 1.0)
    theirs = own_figures(session, project, ines)
    assert theirs.agreement is not None
    assert theirs.agreement.value == 0.0
    nobody = own_figures(session, project, make_person(session))
    assert (nobody.agreement, nobody.gold) == (None, None)


def test_excluded_work_and_screening_are_not_in_the_projects_agreement(
    session: Session, project: Project, people: tuple[Person, ...]
) -> None:
    mira, noor, ines = people
    (item,) = items(session, project, 1)
    screened = make_item(session, project, make_batch(session, project, kind=BatchKind.screening))
    for each in (item, screened):
        rank(session, each, mira, [1, 2, 3])
        rank(session, each, noor, [1, 2, 3] if each is item else [3, 2, 1])
        rank(session, each, ines, [3, 2, 1])
    exclude(session, project, ines, reason="At random.", by=make_person(session, role=Role.admin))
    figures = labeling_figures(session, project)
    assert figures.whole.pairwise is not None
    assert (figures.whole.pairwise.value, figures.whole.pairwise.n) == (1.0, 3)
    assert figures.whole.pairwise == team_figures(session, project).agreement
    found = {each.batch.kind: each.agreements.pairwise for each in figures.batches}
    assert found == {BatchKind.ranking: figures.whole.pairwise, BatchKind.screening: None}
    assert [(each.person.id, each.is_excluded) for each in figures.labelers if each.is_excluded] == [(ines.id, True)]


def test_groups_of_items_are_measured_apart(session: Session, project: Project, people: tuple[Person, ...]) -> None:
    mira, noor, _ = people
    batch = make_batch(session, project)
    for use_case, theirs in ((UseCase.chat, [1, 2, 3]), (UseCase.open_qa, [3, 2, 1])):
        item = make_item(session, project, batch, use_case=use_case)
        rank(session, item, mira, [1, 2, 3])
        rank(session, item, noor, theirs)
    found = labeling_figures(session, project)
    assert [(name, each.pairwise.value, each.tau.value) for name, each in found.by_use_case] == [  # type: ignore[union-attr]
        ("chat", 1.0, 1.0),
        ("open qa", 0.0, -1.0),
    ]
    assert found.whole.alpha is not None
    assert not found.is_capped
    assert labeling_figures(session, project, most=1).is_capped


def test_items_that_everyone_ranks_do_not_fill_the_memory(
    session: Session, project: Project, people: tuple[Person, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "MOST_MEETINGS", 5)
    made = items(session, project, 3)
    for item in made:
        for person in people:
            rank(session, item, person, [1, 2, 3])
    found = evidence.load_evidence(session, project)
    assert (len(found.facets), len(found.meetings), found.is_capped) == (1, 3, True)
    monkeypatch.setattr(evidence, "MOST_MEETINGS", 1)
    assert len(evidence.load_evidence(session, project).meetings) == 3
    monkeypatch.setattr(evidence, "MOST_MEETINGS", 9)
    assert not evidence.load_evidence(session, project).is_capped


def test_only_the_newest_work_is_looked_at(session: Session, project: Project, people: tuple[Person, ...]) -> None:
    mira, noor, _ = people
    for number, item in enumerate(items(session, project, 5)):
        rank(session, item, mira, [1, 2, 3], made=MONDAY + timedelta(days=number), seconds=10 * (number + 1))
        rank(session, item, noor, [], cannot_rank=True, seconds=0)
    found = work_on(session, newest_assignments(session, project, [mira.id, noor.id], most=2))
    assert [each.seconds for each in found[mira.id]] == [50, 40]
    assert all(each.made.cannot_rank and each.pace is None for each in found[noor.id])
    assert list(work_on(session, newest_assignments(session, project, [mira.id]))) == [mira.id]
    words = found[mira.id][0].words
    assert 30 < words < 60  # three texts of nine words and a prompt, counted by their letters
