"""Agreement on files that several people labeled, beside what was counted independently on twice as much of them."""

import gzip
import json
import uuid
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import pytest

from app.quality.agreement import Judged, agreement, meetings
from app.quality.intervals import clustered_figure

PREFERENCES = Path(__file__).parents[4] / "shared" / "data" / "preferences"

pytestmark = pytest.mark.skipif(not PREFERENCES.is_dir(), reason="no ../shared/data/preferences beside the checkout")


def judgments(name: str) -> list[Judged]:
    with gzip.open(PREFERENCES / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [
        Judged(_id(row["id"]), _id(ranking["labeler"]), {_id(str(n)): rank for n, rank in enumerate(ranking["ranks"])})
        for row in rows
        for ranking in row["rankings"]
    ]


def _id(text: str) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_OID, str(text))


@pytest.mark.parametrize(("name", "counted"), [("pandalm_3annotators_pairs", 0.947), ("tulu_human_eval_pairs", 0.713)])
def test_agreement_where_neither_ties_is_what_was_counted_independently(name: str, counted: float) -> None:
    found = agreement(meetings(judgments(name)))
    assert found is not None
    assert found.interval is not None
    assert found.interval[0] <= counted <= found.interval[1], found


@pytest.mark.parametrize(("name", "counted"), [("pandalm_3annotators_pairs", 0.920), ("tulu_human_eval_pairs", 0.571)])
def test_so_is_agreement_on_first_second_or_tie(name: str, counted: float) -> None:
    by_item: dict[uuid.UUID, list[int]] = defaultdict(list)
    for each in judgments(name):
        first, second = each.ranks.values()
        by_item[each.item_id].append((first > second) - (first < second))
    same = [(item, float(one == other), 1.0) for item, said in by_item.items() for one, other in combinations(said, 2)]
    found = clustered_figure(same)
    assert found is not None
    assert found.interval is not None
    assert found.interval[0] <= counted <= found.interval[1], found
