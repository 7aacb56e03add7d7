"""A lead's decisions: stored beside the labelers' rankings, and standing in for them in snapshots."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from app.accounts.models import AuditEvent, Group, Person, Role
from app.core.clock import now
from app.core.db import writing
from app.core.errors import Conflict, Invalid, NotFound
from app.datasets.gathering import gather, pseudonym
from app.datasets.models import SnapshotKind
from app.datasets.schemas import SnapshotFilter
from app.evals.judgments import Judgments
from app.evals.service import judged_contestants
from app.labeling.amendments import can_amend
from app.labeling.history import own_history
from app.labeling.models import Assignment, AssignmentState, BatchKind, Item, ItemPurpose, Ranking, RankingPlace
from app.projects.models import Project
from app.quality.adjudication import DecisionGiven, Judgment, decide, open_sheet
from app.quality.disagreements import read_queue
from app.quality.exclusions import exclude
from app.quality.service import labeling_figures
from tests.app.quality.rows import make_batch, make_item, rank
from tests.factories import make_person, make_project


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


@pytest.fixture
def lead(session: Session, project: Project) -> Person:
    return make_person(session, role=Role.researcher, project=project)


@pytest.fixture
def item(session: Session, project: Project) -> Item:
    """Two labelers who rank three completions the opposite way."""
    item = make_item(session, project, make_batch(session, project))
    for ranks in ([1, 2, 3], [3, 2, 1]):
        rank(session, item, make_person(session, project=project), ranks)
    return item


def decide_as(
    session: Session, project: Project, item: Item, lead: Person, ranks: dict[str, int] | None = None, **given: Any
) -> Judgment:
    ranks = {"A": 1, "B": 2, "C": 2} if ranks is None else ranks
    return decide(session, project, item.id, DecisionGiven(ranks=ranks, **given), by=lead)


def rows(session: Session, project: Project, **wanted: Any) -> list[dict[str, Any]]:
    return list(gather(session, project, SnapshotKind.comparisons, SnapshotFilter(**wanted)))


def test_a_decision_is_a_ranking_beside_the_labelers(
    session: Session, project: Project, lead: Person, item: Item
) -> None:
    before = session.scalars(select(Ranking.id)).all()
    decision = decide_as(session, project, item, lead, note="B repeats itself.")
    session.refresh(item)
    assert (item.wanted, item.taken, item.got) == (1, 2, 2)
    assert set(before) < set(session.scalars(select(Ranking.id)))
    stored = session.get_one(Ranking, decision.ranking.id)
    assert (stored.is_adjudication, stored.supersedes_id, stored.note) == (True, None, "B repeats itself.")
    assignment = session.get_one(Assignment, stored.assignment_id)
    assert (assignment.person_id, assignment.state, assignment.group) == (lead.id, "submitted", Group.training)
    sheet = open_sheet(session, project, item.id, by=lead)
    places = {each.completion_id: each.rank for each in session.scalars(
        select(RankingPlace).where(RankingPlace.ranking_id == stored.id))}  # fmt: skip
    assert {letter: places[each] for letter, each in sheet.letters.items()} == {"A": 1, "B": 2, "C": 2}
    assert assignment.shown_order == [str(each) for each in sheet.letters.values()]
    assert sheet.decision is not None
    assert (sheet.decision.words, len(sheet.judgments)) == ("A > B = C", 2)
    (event,) = session.scalars(select(AuditEvent).where(AuditEvent.action == "item.decide"))
    assert (event.subject_id, event.details["words"]) == (item.id, "A > B = C")


def test_the_sheet_gives_every_labelers_order_under_the_leads_letters(
    session: Session, project: Project, lead: Person, item: Item
) -> None:
    sheet = open_sheet(session, project, item.id, by=lead)
    again = open_sheet(session, project, item.id, by=lead)
    assert sheet.letters == again.letters
    one, other = sheet.judgments
    assert one.words == " > ".join(reversed(other.words.split(" > ")))
    assert sheet.decided == sheet.hindrance == ""
    orders = {tuple(open_sheet(session, project, item.id, by=make_person(session)).letters.values()) for _ in range(20)}
    assert len(orders) > 1


def test_a_decision_stands_in_for_the_labelers_rankings(
    session: Session, project: Project, lead: Person, item: Item
) -> None:
    assert len(rows(session, project)) == 2
    decide_as(session, project, item, lead)
    (row,) = rows(session, project)
    assert (sorted(row["ranks"]), row["labeler"]) == ([1, 2, 2], pseudonym(project.id, lead.id))
    theirs = rows(session, project, use_adjudications=False)
    assert sorted(tuple(each["ranks"]) for each in theirs) == [(1, 2, 3), (3, 2, 1)]


def test_other_items_and_filters_without_the_field_stay_as_they_were(
    session: Session, project: Project, lead: Person, item: Item
) -> None:
    rank(session, make_item(session, project, make_batch(session, project)), make_person(session), [1, 2, 3])
    decide_as(session, project, item, lead)
    assert len(rows(session, project)) == 2
    assert SnapshotFilter().stored() == {}
    assert SnapshotFilter(use_adjudications=False).stored() == {"use_adjudications": False}


def test_cannot_be_ranked_leaves_the_item_out(session: Session, project: Project, lead: Person, item: Item) -> None:
    assert decide_as(session, project, item, lead, {}, cannot_rank=True).words == "cannot be ranked"
    assert rows(session, project) == []


def test_a_decision_that_the_filter_leaves_out_decides_nothing(
    session: Session, project: Project, lead: Person, item: Item
) -> None:
    moment = now() + timedelta(minutes=1)
    decision = decide_as(session, project, item, lead)
    decision.ranking.created_at = moment + timedelta(minutes=1)
    session.flush()
    assert len(rows(session, project, until=moment)) == 2
    assert len(rows(session, project)) == 1
    exclude(session, project, lead, reason="Decided by mistake.", by=make_person(session, role=Role.admin))
    assert len(rows(session, project)) == 2


def test_a_held_out_leads_decision_trains_nothing(session: Session, project: Project, item: Item) -> None:
    decide_as(session, project, item, make_person(session, role=Role.researcher, group=Group.held_out))
    assert len(rows(session, project)) == 2
    assert len(rows(session, project, purpose="evaluation")) == 1


def test_a_second_decision_supersedes_the_first_of_whichever_lead(
    session: Session, project: Project, lead: Person, item: Item
) -> None:
    other = make_person(session, role=Role.admin)
    first = decide_as(session, project, item, lead)
    with pytest.raises(Conflict, match=f"{lead.name} has decided this item meanwhile"):
        decide_as(session, project, item, other)
    second = decide_as(session, project, item, other, {"A": 2, "B": 1, "C": 3}, decided=str(first.ranking.id))
    assert second.ranking.supersedes_id == first.ranking.id
    third = decide_as(session, project, item, other, decided=str(second.ranking.id))
    assert third.ranking.assignment_id == second.ranking.assignment_id
    (row,) = rows(session, project)
    assert row["id"] == str(third.ranking.id)
    assert len(session.scalars(select(Ranking).where(Ranking.is_adjudication)).all()) == 3


@pytest.mark.parametrize("state", [AssignmentState.leased, AssignmentState.expired, AssignmentState.skipped])
def test_a_lead_who_had_the_item_on_the_desk_may_decide_it(
    session: Session, project: Project, lead: Person, item: Item, state: AssignmentState
) -> None:
    shown = [str(each) for each in open_sheet(session, project, item.id, by=lead).letters.values()][::-1]
    session.add(Assignment(item_id=item.id, person_id=lead.id, lease_until=now(), state=state, shown_order=shown))
    item.taken += state == AssignmentState.leased
    session.flush()
    decision = decide_as(session, project, item, lead)
    session.refresh(item)
    assert (item.taken, item.got) == (2, 2)
    assignment = session.get_one(Assignment, decision.ranking.assignment_id)
    assert (assignment.state, assignment.shown_order) == ("submitted", shown)


def test_no_one_decides_what_they_ranked_or_wrote(session: Session, project: Project, lead: Person) -> None:
    batch = make_batch(session, project)
    own, written = make_item(session, project, batch), make_item(session, project, batch, written_by=lead)
    for item in (own, written):
        rank(session, item, make_person(session), [1, 2, 3])
        rank(session, item, lead if item is own else make_person(session), [3, 2, 1])
    for item, words in ((own, "one of the labelers who disagree"), (written, "wrote one of these completions")):
        with pytest.raises(Conflict, match=words):
            decide_as(session, project, item, lead)


def test_only_what_is_trained_on_and_judged_twice_is_decided(session: Session, project: Project, lead: Person) -> None:
    gold = make_item(session, project, make_batch(session, project), gold=[1, 2, 3])
    evaluated = make_item(session, project, make_batch(session, project, kind=BatchKind.evaluation))
    single = make_item(session, project, make_batch(session, project))
    for item in (gold, evaluated, single):
        for ranks in ([1, 2, 3], [3, 2, 1])[: 1 if item is single else 2]:
            rank(session, item, make_person(session), ranks)
        with pytest.raises(Conflict):
            decide_as(session, project, item, lead)
    assert read_queue(session, project, below=100).open == []
    with pytest.raises(NotFound):
        open_sheet(session, make_project(session), single.id, by=lead)


@pytest.mark.parametrize(
    ("ranks", "field"),
    [({"A": 1, "B": 2}, "rank C"), ({"A": 1, "B": 2, "C": 4}, "rank C"), ({"A": 1, "D": 1}, "rank D")],
)
def test_a_decision_that_is_not_whole_is_refused(
    session: Session, project: Project, lead: Person, item: Item, ranks: dict[str, int], field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        decide_as(session, project, item, lead, ranks)
    assert field in refused.value.fields
    assert session.scalars(select(Ranking).where(Ranking.is_adjudication)).all() == []


def test_decisions_are_no_ones_labeling(session: Session, project: Project, lead: Person, item: Item) -> None:
    decision = decide_as(session, project, item, lead)
    assignment = session.get_one(Assignment, decision.ranking.assignment_id)
    assert lead.id not in {each.person.id for each in labeling_figures(session, project).labelers}
    assert not can_amend(session, assignment, project)
    assert own_history(session, lead, project).entries == []
    whole = labeling_figures(session, project).whole.pairwise
    assert whole is not None
    assert (whole.value, whole.n) == (0.0, 3)
    assert len(judged_contestants(session, project, judgments=Judgments(kind=BatchKind.ranking))) == 1


def test_the_queue_begins_with_the_least_agreement(session: Session, project: Project, lead: Person) -> None:
    batch = make_batch(session, project)
    one, other, spam = (make_person(session) for _ in range(3))
    made = {}
    for name, theirs in (("same", [1, 2, 3]), ("near", [1, 3, 2]), ("opposite", [3, 2, 1]), ("tied", [1, 1, 1])):
        made[name] = make_item(session, project, batch).id
        rank(session, session.get_one(Item, made[name]), one, [1, 2, 3])
        rank(session, session.get_one(Item, made[name]), other, theirs)
    rank(session, session.get_one(Item, made["same"]), spam, [3, 2, 1])
    exclude(session, project, spam, reason="At random.", by=lead)
    split = make_item(session, project, batch, purpose=ItemPurpose.calibration)
    rank(session, split, one, [1, 2, 3])
    rank(session, split, other, [], cannot_rank=True)
    queue = read_queue(session, project)
    assert {each.item_id for each in queue.open[:2]} == {made["opposite"], split.id}
    assert [each.item_id for each in queue.open[2:]] == [made["near"]]
    assert [each.cannot_rank for each in queue.open if each.item_id == split.id] == [1]
    assert [each.share for each in queue.open] == [0.0, 0.0, pytest.approx(2 / 3)]
    decide_as(session, project, session.get_one(Item, made["opposite"]), lead)
    queue = read_queue(session, project, below=50)
    assert ([each.item_id for each in queue.open], queue.open_total) == ([split.id], 1)
    assert [(each.item_id, each.by) for each in queue.decided] == [(made["opposite"], lead.name)]


def test_of_two_leads_at_once_one_is_told_of_the_other(engine: Engine) -> None:
    with writing(engine) as session:
        project = make_project(session)
        leads = [make_person(session, role=Role.researcher, project=project) for _ in range(2)]
        item = make_item(session, project, make_batch(session, project))
        for ranks in ([1, 2, 3], [3, 2, 1]):
            rank(session, item, make_person(session), ranks)
    start, told = threading.Barrier(2), []

    def work(lead: Person) -> None:
        start.wait()
        try:
            with writing(engine) as session:
                decide_as(session, project, item, lead)
        except Conflict as error:
            told.append(error.message)

    threads = [threading.Thread(target=work, args=(lead,)) for lead in leads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    with writing(engine) as session:
        assert len(session.scalars(select(Ranking).where(Ranking.is_adjudication)).all()) == 1
    assert len(told) == 1
    assert "has decided this item meanwhile" in told[0]
