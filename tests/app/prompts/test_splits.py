import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.prompts.models import Split
from app.prompts.splits import SplitBook, SplitConflict, content_hash, split_of


def place(book: SplitBook, *, org: str | None = None, user: str | None = None, wanted: Split | None = None) -> Split:
    return book.place(organisation=org, user=user, content="c", wanted=wanted)


def test_shares_are_near_70_15_15() -> None:
    splits = [split_of(f"organisation {number}") for number in range(4000)]
    assert splits.count(Split.train) / 4000 == pytest.approx(0.70, abs=0.03)
    assert splits.count(Split.valid) / 4000 == pytest.approx(0.15, abs=0.02)


def test_a_source_keeps_the_split_it_has() -> None:
    book = SplitBook(organisations={"Mill": Split.test})
    assert place(book, org="Mill", user="ann") is Split.test
    assert place(book, user="ann") is Split.test


def test_sources_in_different_splits_are_refused_by_name() -> None:
    book = SplitBook(organisations={"Mill": Split.test}, users={"ann": Split.train})
    with pytest.raises(SplitConflict, match=r"organisation “Mill” is in test, but user “ann” is in train"):
        place(book, org="Mill", user="ann")
    with pytest.raises(SplitConflict, match="this row asks for valid"):
        place(book, org="Mill", wanted=Split.valid)


sources = st.none() | st.sampled_from("abcde")
rows = st.lists(st.tuples(sources, sources, st.none() | st.sampled_from(Split)), max_size=60)


@given(rows)
def test_no_source_is_ever_in_two_splits(rows: list[tuple[str | None, str | None, Split | None]]) -> None:
    book, seen = SplitBook(), {}
    for org, user, wanted in rows:
        try:
            split = place(book, org=org, user=user, wanted=wanted)
        except SplitConflict:
            continue
        for source in (("org", org), ("user", user)):
            if source[1]:
                assert seen.setdefault(source, split) is split


def test_content_hash_ignores_spacing_and_the_coding_of_accents_only() -> None:
    def hashed(text: str) -> str:
        return content_hash([{"role": "user", "content": text}])

    assert hashed("A  caf\u00e9\n") == hashed("A cafe\u0301")
    assert hashed("A cafe") != hashed("a cafe")
