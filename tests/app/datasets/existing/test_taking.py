"""Labels from elsewhere stand in the same tables as our own, once, and datasets and figures read them alike."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts.models import Person, PersonState
from app.datasets import service as datasets
from app.datasets.existing.shapes import read_labels
from app.datasets.existing.taking import check_labels, take_labels
from app.datasets.gathering import gather
from app.datasets.models import SnapshotKind
from app.datasets.schemas import SnapshotFilter
from app.labeling.models import Assignment, Batch, BatchState, Demonstration, Item, Ranking, RankingPlace
from app.projects.models import Project
from app.prompts.models import Prompt
from app.prompts.readers import ImportFormat, RawRow, read_rows
from tests.factories import make_person, make_project

SHARED = Path(__file__).parents[5] / "shared" / "data"
RANKED = {
    "prompt": [["user", "Where is the dog?"]], "responses": [{"text": "a", "model": "m1"}, {"text": "b"}, {"text": ""}],
    "rankings": [{"labeler": "x", "ranks": [1, 1, 3]}, {"labeler": "y", "ranks": [2, 1, None]}], "group": "Acme",
}  # fmt: skip
WRITTEN = {"prompt": "Where is the cat?", "completion": "Here.", "labeler": "x"}


def rows(*values: Any) -> Any:
    return list(read_labels([RawRow(number, value) for number, value in enumerate(values, start=1)]))


def counted(session: Session, kind: type[Any]) -> int:
    return session.scalar(select(func.count()).select_from(kind)) or 0


@pytest.fixture
def project(session: Session) -> Project:
    return make_project(session)


@pytest.fixture
def admin(session: Session) -> Person:
    return make_person(session)


def test_a_preview_says_what_comes_and_changes_nothing(session: Session, project: Project) -> None:
    report = check_labels(session, project, rows(RANKED, WRITTEN, {"odd": 1}), file="some.jsonl")
    assert report.counts == {"new_prompts": 2, "demonstrations": 1, "rankings": 2, "completions": 3, "known": 0}
    assert [(each.number, each.problem) for each in report.refused] == [(3, "is of no known shape; its fields are odd")]
    assert counted(session, Prompt) == 0


def test_rankings_stand_in_a_closed_batch_by_labelers_who_cannot_sign_in(
    session: Session, project: Project, admin: Person
) -> None:
    take_labels(session, project, rows(RANKED), file="some.jsonl", by=admin)
    batch = session.scalars(select(Batch)).one()
    assert (batch.name, batch.state, batch.overlap) == ("some.jsonl", BatchState.closed, 2)
    item = session.scalars(select(Item)).one()
    assert (item.wanted, item.taken, item.got) == (2, 2, 2)
    people = session.scalars(select(Person).where(Person.id != admin.id)).all()
    assert {person.name for person in people} == {"x of some.jsonl", "y of some.jsonl"}
    assert all((person.state, person.password_hash) == (PersonState.paused, None) for person in people)


def test_datasets_hold_them_with_ranks_dense_and_gaps_left_out(
    session: Session, project: Project, admin: Person
) -> None:
    take_labels(session, project, rows(RANKED, WRITTEN), file="some.jsonl", by=admin)
    found = list(gather(session, project, SnapshotKind.comparisons, SnapshotFilter(purpose="training")))
    assert sorted((row["completions"], row["ranks"], row["group"]) for row in found) == [
        (["a", "b"], [2, 1], "Acme"),
        (["a", "b", ""], [1, 1, 2], "Acme"),
    ]
    (written,) = gather(session, project, SnapshotKind.demonstrations, SnapshotFilter(purpose="training"))
    assert (written["completion"], written["source"]) == ("Here.", "some.jsonl")


def test_a_file_that_comes_twice_is_taken_once(session: Session, project: Project, admin: Person) -> None:
    take_labels(session, project, rows(RANKED, WRITTEN), file="some.jsonl", by=admin)
    again = check_labels(session, project, rows(RANKED, WRITTEN), file="some.jsonl")
    assert again.is_empty
    assert again.counts["known"] == 3
    more = {**RANKED, "rankings": [*RANKED["rankings"], {"labeler": "z", "ranks": [3, 2, 1]}]}
    report = take_labels(session, project, rows(more, WRITTEN), file="some.jsonl", by=admin)
    assert (report.counts["rankings"], report.counts["demonstrations"], report.counts["new_prompts"]) == (1, 0, 0)
    assert (counted(session, Ranking), counted(session, Demonstration), counted(session, Prompt)) == (3, 1, 2)


def test_what_two_say_alike_is_said_twice(session: Session, project: Project, admin: Person) -> None:
    """Two labelers who write the same, and one who ranks the same set alike again: its agreement with itself."""
    alike = {**RANKED, "rankings": [{"labeler": "x", "ranks": [1, 2, 3]}] * 2}
    read = rows(WRITTEN, {**WRITTEN, "labeler": "y"}, WRITTEN, alike)
    counts = take_labels(session, project, read, file="f", by=admin).counts
    assert (counts["demonstrations"], counts["rankings"], counts["known"]) == (2, 2, 1)
    again = check_labels(session, project, [*read, *rows({**WRITTEN, "labeler": "z"})], file="f")
    assert (again.counts["demonstrations"], again.counts["rankings"]) == (1, 0)


@pytest.mark.parametrize("differing", [{"note": "y"}, {"all_bad": True}])
def test_one_who_ranks_alike_again_may_remark_otherwise(
    session: Session, project: Project, admin: Person, differing: dict[str, Any]
) -> None:
    said = {"labeler": "x", "ranks": [1, 2, 3], "note": "x"}
    read = rows({**RANKED, "rankings": [said, {**said, **differing}]})
    assert take_labels(session, project, read, file="f", by=admin).counts["rankings"] == 2
    assert check_labels(session, project, read, file="f").is_empty


def test_a_prompt_or_a_labeler_that_comes_again_goes_to_the_next_part(
    session: Session, project: Project, admin: Person
) -> None:
    other = {**RANKED, "responses": [{"text": "c"}, {"text": "d"}], "rankings": [{"labeler": "x", "ranks": [1, 2]}]}
    twice = {**RANKED, "rankings": [{"labeler": "x", "ranks": [1, 2, 3]}, {"labeler": "x", "ranks": [2, 1, 3]}]}
    take_labels(session, project, rows(other, twice), file="f", by=admin)
    batches = session.scalars(select(Batch.name).order_by(Batch.name)).all()
    assert batches == ["f", "f, part 2", "f, part 3"]
    assert counted(session, Prompt) == 1
    assert counted(session, Assignment) == counted(session, Ranking) == 3


def test_what_a_program_judged_can_be_left_out(session: Session, project: Project, admin: Person) -> None:
    take_labels(session, project, rows(RANKED, WRITTEN), file="f", by=admin, simulated=True)
    for kind in (SnapshotKind.comparisons, SnapshotKind.demonstrations):
        people_only = SnapshotFilter(purpose="training", include_simulated=False)
        assert list(gather(session, project, kind, people_only)) == []


def test_a_prompt_that_cannot_be_taken_takes_its_labels_along(
    session: Session, project: Project, admin: Person
) -> None:
    ends_with_assistant = {**WRITTEN, "prompt": [["user", "a"], ["assistant", "b"]]}
    train, test = ({**WRITTEN, "prompt": text, "group": "Acme", "split": text} for text in ("train", "test"))
    nul = {**RANKED, "responses": [{"text": "a\x00"}, {"text": "b"}, {"text": "c"}]}
    alone = {**RANKED, "rankings": [{"labeler": "x", "ranks": [1, None, None]}]}
    report = take_labels(session, project, rows(ends_with_assistant, train, test, nul, alone), file="f", by=admin)
    assert [(each.number, each.problem.split(":")[0].split(";")[0]) for each in report.refused] == [
        (1, "the last message must be the user's"),
        (3, "organisation “Acme” is in train, but this row asks for test"),
        (4, "a completion holds characters that can't be kept (NUL or half of a surrogate pair)"),
        (5, "has a ranking of fewer than two completions"),
    ]
    assert counted(session, Demonstration) == 1


@pytest.mark.skipif(not SHARED.is_dir(), reason="real data is not beside this checkout")
@pytest.mark.parametrize("file", sorted(SHARED.glob("[pd]*s/*.jsonl.gz")), ids=lambda file: file.name)
def test_real_files_are_taken_whole(session: Session, project: Project, admin: Person, file: Path) -> None:
    read = read_rows(gzip.decompress(file.read_bytes()), ImportFormat.jsonl)[:400]
    report = take_labels(session, project, read_labels(read), file=file.name, by=admin)
    if "no_text" in file.name:  # ranks of texts that the file does not have
        assert report.is_empty
        return
    assert len(report.refused) <= len(read) * 0.02, report.refused[:3]
    judged = sum(len(row.values.get("rankings", [0])) for row in read)
    taken = report.counts["rankings"] + report.counts["demonstrations"] + report.counts["known"]
    assert taken >= judged * 0.98
    kind = SnapshotKind.comparisons if report.counts["rankings"] else SnapshotKind.demonstrations
    everything = SnapshotFilter(purpose="training")
    assert datasets.count(session, project, kind, everything) == (
        report.counts["rankings"] or report.counts["demonstrations"]
    )
    places = session.execute(select(RankingPlace.ranking_id, func.count()).group_by(RankingPlace.ranking_id)).all()
    assert all(count >= 2 for _, count in places)
