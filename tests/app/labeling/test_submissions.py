"""What is stored of what was sent: once, whole, as it was shown, and never refused for being late."""

import threading
import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.core.clock import now
from app.core.db import make_engine, reading, writing
from app.core.errors import Conflict, Invalid, NotFound
from app.labeling.bench import letters_of, open_bench, receipt
from app.labeling.leases import lease_next, release_expired
from app.labeling.models import (
    Assignment,
    AssignmentState,
    BatchState,
    Completion,
    Demonstration,
    Item,
    Ranking,
    RankingPlace,
    Rating,
)
from app.labeling.schemas import CompletionRating, Draft, Skip, Submission
from app.labeling.service import batch_of, change_state
from app.labeling.submissions import save_draft, skip, submit
from app.projects.models import Project
from tests.app.labeling.rows import make_demonstration_batch, make_ranking_batch
from tests.factories import make_person, make_project

ORDER = {"A": 2, "B": 4, "C": 2, "D": 1}


def leased(session: Session, person: Person, project: Project) -> Assignment:
    assignment = lease_next(session, person, project)
    assert assignment is not None
    return assignment


def ranked(**values: object) -> Submission:
    return Submission.model_validate({"submission_key": str(uuid.uuid4()), "ranks": ORDER, **values})


def written(text: str = "Max hid under the bed.") -> Submission:
    return Submission(submission_key=str(uuid.uuid4()), text=text)


def counts(session: Session, assignment: Assignment) -> tuple[int, int]:
    row = session.execute(select(Item.taken, Item.got).where(Item.id == assignment.item_id)).one()
    return row.taken, row.got


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


@pytest.fixture
def mira(session: Session, project: Project) -> Person:
    return make_person(session, project=project)


@pytest.fixture
def ranking(session: Session, project: Project, mira: Person) -> Assignment:
    make_ranking_batch(session, project)
    return leased(session, mira, project)


def test_a_ranking_is_stored_by_completion_with_dense_ranks(
    session: Session, mira: Person, ranking: Assignment
) -> None:
    stored = submit(session, mira, ranking.id, ranked(note="hard", active_seconds=95))
    places = dict(session.execute(select(RankingPlace.completion_id, RankingPlace.rank)).all())
    shown = [uuid.UUID(each) for each in ranking.shown_order]
    assert places == {shown[0]: 2, shown[1]: 3, shown[2]: 2, shown[3]: 1}
    assert stored.words == "D > A = C > B"
    assert stored.ranks == {"A": 2, "B": 3, "C": 2, "D": 1}
    assert (ranking.state, ranking.active_seconds) == (AssignmentState.submitted, 95)
    assert counts(session, ranking) == (1, 1)
    assert session.scalars(select(Ranking.note)).all() == ["hard"]


def test_ratings_flags_and_notes_are_stored_under_the_schema_of_the_batch(
    session: Session, mira: Person, ranking: Assignment
) -> None:
    ratings = {
        "B": CompletionRating(likert={"overall": 6}, flags=["hallucination", "fails_task"], note="odd"),
        "C": CompletionRating(),
    }
    submit(session, mira, ranking.id, ranked(ratings=ratings))
    rating = session.scalars(select(Rating)).one()
    assert rating.completion_id == letters_of(ranking)["B"]
    assert (rating.likert, rating.flags, rating.note) == ({"overall": 6}, ["fails_task", "hallucination"], "odd")
    assert rating.rating_schema_id == open_bench(session, mira, ranking.id).rating_schema_id


def test_the_same_submission_again_gives_the_same_receipt_and_no_second_row(
    session: Session, mira: Person, ranking: Assignment
) -> None:
    sent = ranked()
    first = submit(session, mira, ranking.id, sent)
    assert submit(session, mira, ranking.id, sent) == first
    assert session.scalar(select(func.count()).select_from(Ranking)) == 1
    assert counts(session, ranking) == (1, 1)


def test_another_submission_of_the_same_item_is_refused_and_says_what_is_stored(
    session: Session, mira: Person, ranking: Assignment
) -> None:
    submit(session, mira, ranking.id, ranked())
    with pytest.raises(Conflict, match="D > A = C > B"):
        submit(session, mira, ranking.id, ranked(ranks={"A": 1, "B": 2, "C": 3, "D": 4}))
    stored = receipt(session, ranking)
    assert stored is not None
    assert stored.words == "D > A = C > B"


def test_two_clicks_at_the_same_moment_store_one_ranking(engine: Engine) -> None:
    with writing(engine) as session:
        project = make_project(session)
        make_ranking_batch(session, project)
        mira = make_person(session, project=project)
        assignment = leased(session, mira, project)
    sent, start, words = ranked(), threading.Barrier(4), []

    def click() -> None:
        start.wait(20)
        with writing(engine) as session:
            words.append(submit(session, mira, assignment.id, sent).words)

    threads = [threading.Thread(target=click) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert words == ["D > A = C > B"] * 4
    with reading(engine) as session:
        assert session.scalar(select(func.count()).select_from(Ranking)) == 1


def test_a_late_submission_counts_even_when_another_took_the_place(
    session: Session, project: Project, mira: Person, ranking: Assignment
) -> None:
    noor = make_person(session, project=project)
    ranking.lease_until = now() - timedelta(seconds=1)
    session.flush()
    other = leased(session, noor, project)
    assert other.item_id == ranking.item_id
    submit(session, noor, other.id, ranked())
    stored = submit(session, mira, ranking.id, ranked())
    assert stored.words == "D > A = C > B"
    assert counts(session, ranking) == (2, 2)


def test_a_late_submission_uses_a_place_that_is_still_free(session: Session, mira: Person, ranking: Assignment) -> None:
    ranking.lease_until = now() - timedelta(seconds=1)
    session.flush()
    release_expired(session)
    submit(session, mira, ranking.id, ranked())
    assert counts(session, ranking) == (1, 1)
    assert release_expired(session) == 0


@pytest.mark.parametrize("state", [BatchState.paused, BatchState.closed])
def test_what_was_begun_is_accepted_when_the_batch_is_no_longer_open(
    session: Session, project: Project, mira: Person, ranking: Assignment, state: BatchState
) -> None:
    item = session.get_one(Item, ranking.item_id)
    change_state(session, batch_of(session, project, item.batch_id), state, by=mira)
    assert submit(session, mira, ranking.id, ranked()).words == "D > A = C > B"


def test_completions_that_cannot_be_ranked_store_no_places(session: Session, mira: Person, ranking: Assignment) -> None:
    stored = submit(session, mira, ranking.id, ranked(ranks={"A": 1}, cannot_rank=True))
    assert stored.words == "cannot be ranked"
    assert session.scalars(select(RankingPlace)).all() == []
    assert session.scalars(select(Ranking.cannot_rank)).all() == [True]


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({"all_bad": True}, "D > A = C > B; none is good enough to use"),
        ({"ranks": {}, "cannot_rank": True, "all_bad": True}, "cannot be ranked; none is good enough to use"),
        ({"ranks": dict.fromkeys("ABCD", 1)}, "A = B = C = D"),
    ],
)
def test_all_bad_is_said_apart_from_the_order_and_from_a_tie(
    session: Session, mira: Person, ranking: Assignment, sent: dict[str, object], words: str
) -> None:
    assert submit(session, mira, ranking.id, ranked(**sent)).words == words
    assert session.scalars(select(Ranking.all_bad)).one() == ("all_bad" in sent)


@pytest.mark.parametrize(
    ("sent", "touched", "comparisons"),
    [
        ({}, True, 0),  # ranks, from a page that can't tell
        ({"order_touched": False}, False, 0),
        ({"ranks": {}, "cannot_rank": True}, False, 0),
        ({"order_touched": True, "compared": [{"left": "A", "right": "B", "better": "tie"}] * 3}, True, 3),
    ],
)
def test_how_the_order_came_about_is_stored(
    session: Session, mira: Person, ranking: Assignment, sent: dict[str, object], touched: bool, comparisons: int
) -> None:
    submit(session, mira, ranking.id, ranked(**sent))
    stored = session.scalars(select(Ranking)).one()
    assert (stored.order_touched, stored.comparisons) == (touched, comparisons)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"ranks": {"A": 1, "B": 2, "C": 3}}, "rank_D"),
        ({"ranks": {**ORDER, "D": 5}}, "rank_D"),
        ({"ranks": {**ORDER, "E": 1}}, "E"),
        ({"ratings": {"Z": {"note": "x"}}}, "Z"),
        ({"ratings": {"A": {"likert": {"beauty": 3}}}}, "likert_A_beauty"),
        ({"ratings": {"A": {"flags": ["nonsense"]}}}, "flags_A"),
        ({"text": "a story"}, "text"),
    ],
)
def test_a_ranking_that_is_not_of_this_item_is_refused_whole(
    session: Session, mira: Person, ranking: Assignment, values: dict[str, object], field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        submit(session, mira, ranking.id, ranked(**values))
    assert field in refused.value.fields
    assert ranking.state == AssignmentState.leased
    assert session.scalars(select(Ranking)).all() == []


def test_a_demonstration_is_stored_without_the_blanks_around_it(
    session: Session, project: Project, mira: Person
) -> None:
    make_demonstration_batch(session, project)
    assignment = leased(session, mira, project)
    stored = submit(session, mira, assignment.id, written(" \r\nOne.\r\n\r\nTwo.\n"))
    assert session.scalars(select(Demonstration.text)).all() == ["One.\n\nTwo."]
    assert stored.words == "a demonstration of 2 words"


@pytest.mark.parametrize("sent", [written("  \n "), ranked()])
def test_an_empty_demonstration_or_a_ranking_in_its_place_is_refused(
    session: Session, project: Project, mira: Person, sent: Submission
) -> None:
    make_demonstration_batch(session, project)
    assignment = leased(session, mira, project)
    with pytest.raises(Invalid):
        submit(session, mira, assignment.id, sent)
    assert session.scalars(select(Demonstration)).all() == []


def test_characters_that_no_database_keeps_become_a_sign(session: Session, project: Project, mira: Person) -> None:
    make_demonstration_batch(session, project)
    assignment = leased(session, mira, project)
    submit(session, mira, assignment.id, written("a\x00b \ud800 c \U0001f600"))
    assert session.scalars(select(Demonstration.text)).all() == ["a�b � c \U0001f600"]


def test_no_one_reaches_the_assignment_of_another(session: Session, project: Project, ranking: Assignment) -> None:
    noor = make_person(session, project=project)
    with pytest.raises(NotFound):
        submit(session, noor, ranking.id, ranked())
    with pytest.raises(NotFound):
        save_draft(session, noor, ranking.id, Draft())
    with pytest.raises(NotFound):
        skip(session, noor, ranking.id, Skip(reason="unsafe"))
    with pytest.raises(NotFound):
        open_bench(session, noor, ranking.id)


def test_a_key_of_another_submission_is_refused(session: Session, project: Project, mira: Person) -> None:
    make_ranking_batch(session, project, items=2)
    first, sent = leased(session, mira, project), ranked()
    submit(session, mira, first.id, sent)
    second = leased(session, mira, project)
    with pytest.raises(Conflict):
        submit(session, mira, second.id, sent)
    assert second.state == AssignmentState.leased


def test_a_draft_is_kept_and_lengthens_the_lease(session: Session, mira: Person, ranking: Assignment) -> None:
    ranking.lease_until = now() + timedelta(seconds=30)
    session.flush()
    save_draft(session, mira, ranking.id, Draft(ranks={"A": 1}, note="so far", active_seconds=12))
    assert ranking.draft is not None
    assert ranking.draft["ranks"] == {"A": 1}
    assert ranking.draft["note"] == "so far"
    assert ranking.active_seconds == 12
    assert ranking.lease_until > now() + timedelta(minutes=10)


def test_a_draft_after_the_submission_is_refused_and_changes_nothing(
    session: Session, mira: Person, ranking: Assignment
) -> None:
    submit(session, mira, ranking.id, ranked())
    with pytest.raises(Conflict):
        save_draft(session, mira, ranking.id, Draft(note="too late"))
    with pytest.raises(Conflict):
        skip(session, mira, ranking.id, Skip(reason="unsafe"))
    assert ranking.draft is None
    assert ranking.state == AssignmentState.submitted


def test_a_skip_keeps_its_reason_and_frees_the_place_once(session: Session, mira: Person, ranking: Assignment) -> None:
    skip(session, mira, ranking.id, Skip(reason=" The prompt is unsafe "))
    skip(session, mira, ranking.id, Skip(reason="The prompt is unsafe"))
    assert (ranking.state, ranking.skip_reason) == (AssignmentState.skipped, "The prompt is unsafe")
    assert counts(session, ranking) == (0, 0)


@pytest.fixture(scope="module")
def stocked(sqlite_template: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One database for many examples."""
    file = tmp_path_factory.mktemp("stocked") / "touchstone.db"
    file.write_bytes(sqlite_template.read_bytes())  # type: ignore[attr-defined]
    engine = make_engine(f"sqlite:///{file}")
    yield engine
    engine.dispose()


@settings(max_examples=40, deadline=None)
@given(data=st.data(), k=st.integers(2, 9))
def test_whatever_order_ties_and_shuffle_the_stored_ranks_are_the_ones_shown(
    stocked: Engine, data: st.DataObject, k: int
) -> None:
    """By the texts the labeler saw: of any two, the one shown better is stored better, and a tie is a tie."""
    with writing(stocked) as session:
        project = make_project(session)
        make_ranking_batch(session, project, completions=k)
        mira = make_person(session, project=project)
        assignment = leased(session, mira, project)
        assignment.shown_order = data.draw(st.permutations(assignment.shown_order))
        session.flush()
        seen = {each.letter: each.text for each in open_bench(session, mira, assignment.id).completions}
        shown = {letter: data.draw(st.integers(1, k)) for letter in seen}
        submit(session, mira, assignment.id, ranked(ranks=shown))
        query = (
            select(Completion.text, RankingPlace.rank)
            .join(RankingPlace, RankingPlace.completion_id == Completion.id)
            .join(Ranking, Ranking.id == RankingPlace.ranking_id)
            .where(Ranking.assignment_id == assignment.id)
        )
        stored = dict(session.execute(query).all())
    assert set(stored) == set(seen.values())
    for one in seen:
        for other in seen:
            assert (shown[one] < shown[other]) == (stored[seen[one]] < stored[seen[other]])
            assert (shown[one] == shown[other]) == (stored[seen[one]] == stored[seen[other]])
