"""What two snapshots don't share is told row by row, without holding them."""

import tracemalloc
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.core.db import writing
from app.core.errors import Invalid
from app.core.storage import Artefacts
from app.datasets import comparing, service
from app.datasets.comparing import Difference, compare
from app.datasets.models import Snapshot, SnapshotKind
from app.datasets.rows import Row
from app.projects.models import Project
from app.prompts.models import Split
from tests.app.datasets.labels import make_ranking
from tests.conftest import SignIn
from tests.factories import make_person, make_project, make_prompt


def rows(values: dict[int, int]) -> Iterator[Row]:
    return ({"id": f"{number:032x}", "value": values[number]} for number in sorted(values))


def told(before: dict[int, int], after: dict[int, int]) -> Difference:
    found = Difference()
    for pair in comparing._side_by_side(rows(before), rows(after)):
        found.add(*pair)
    return found


numbered = st.dictionaries(st.integers(0, 30), st.integers(0, 2))


@given(before=numbered, after=numbered)
def test_every_row_is_added_removed_changed_or_the_same(before: dict[int, int], after: dict[int, int]) -> None:
    found = told(before, after)
    shared = before.keys() & after.keys()
    changed = sorted(number for number in shared if before[number] != after[number])
    assert (found.added, found.removed) == (len(after.keys() - shared), len(before.keys() - shared))
    assert (found.changed, found.same) == (len(changed), len(shared) - len(changed))
    first = [{"id": f"{number:032x}", "value": after[number]} for number in changed[: comparing.FIRST]]
    assert [each.row for each in found.first_changed] == first
    assert all(each.columns["value"][0] != each.columns["value"][1] for each in found.first_changed)


def test_a_column_of_a_newer_version_is_no_change() -> None:
    found = Difference()
    found.add({"id": "a", "x": 1}, {"id": "a", "x": 1, "flags_asked": []})
    assert (found.same, found.changed) == (1, 0)


def test_comparing_holds_a_few_rows() -> None:
    text = "x" * 1000

    def long(shift: int) -> Iterator[Row]:
        return ({"id": f"{number + shift:032x}", "value": f"{text}{number}"} for number in range(20_000))

    tracemalloc.start()
    found = Difference()
    for pair in comparing._side_by_side(long(0), long(5_000)):
        found.add(*pair)
    assert tracemalloc.get_traced_memory()[1] < 2**20  # each is 20 MB
    tracemalloc.stop()
    assert (found.added, found.removed, found.changed) == (5_000, 5_000, 15_000)


def test_snapshots_tell_what_came_what_went_and_what_is_otherwise(session: Session, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    store = Artefacts(str(tmp_path / "store"), tmp_path / "cache")
    project, person = make_project(session), make_person(session)

    def freeze(kind: str = "comparisons", **wanted: Any) -> Snapshot:
        return service.keep(
            session, service.freeze(session, project, SnapshotKind(kind), wanted, artefacts=store), None
        )

    prompt = make_prompt(session, project)
    stays = make_ranking(session, project, person, [1, 2], prompt=prompt)
    old = make_ranking(session, project, person, [1, 2])
    before = freeze()
    prompt.split = Split.valid
    new = make_ranking(session, project, person, [2, 1], supersedes=old)
    after = freeze()
    found = compare(before, after, store)
    assert (found.added, found.removed, found.changed, found.same) == (1, 1, 1, 0)
    assert (found.first_added[0]["id"], found.first_removed[0]["id"]) == (str(new.id), str(old.id))
    assert found.first_changed[0].row["id"] == str(stays.id)
    assert found.first_changed[0].columns == {"split": ("train", "valid")}
    assert compare(after, after, store).same == 2
    with pytest.raises(Invalid, match="One holds prompts"):
        compare(freeze("prompts"), after, store)


def test_the_page_is_for_researchers_and_for_snapshots_of_the_project(
    sign_in: SignIn, researcher: Person, project: Project, labeler: Person
) -> None:
    client = sign_in(researcher)
    pages = []
    for text in ("<i>Once", "Twice"):
        with writing() as session:
            make_ranking(session, project, labeler, [1, 2], prompt=make_prompt(session, project, text=text))
        pages.append(client.post(f"/p/{project.slug}/datasets", data={"kind": "comparisons"}).headers["location"])
    first, second = (page.rsplit("/", 1)[1] for page in pages)
    answer = client.get(f"{pages[0]}/diff?against={second}")
    assert (answer.status_code, "Twice" in answer.text) == (200, False)  # the rows follow
    rest = answer.text.split('hx-get="')[1].split('"')[0].replace("&amp;", "&")
    answer = client.get(rest, headers={"HX-Request": "true"})
    assert "Twice" in answer.text
    assert 'id="changes"' in answer.text
    assert 'aria-label="Removed"' in answer.text
    assert 'aria-label="Added"' not in answer.text
    assert "Both hold the same rows." in client.get(f"{pages[0]}/diff?against={first}&figures=true").text
    assert f'value="{first}"' in client.get(pages[1]).text
    assert client.get(f"{pages[0]}/diff?against={uuid.uuid4()}").status_code == 404
    assert client.get(f"{pages[0]}/diff").status_code == 422
    prompts = client.post(f"/p/{project.slug}/datasets", data={"kind": "prompts"}).headers["location"]
    other = client.get(f"{prompts}/diff?against={first}")
    assert (other.status_code, "Choose two snapshots of one kind" in other.text) == (422, True)
    assert sign_in(labeler).get(f"{pages[0]}/diff?against={second}").status_code == 403
