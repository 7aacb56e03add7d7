"""Rounds of faults under load: `make chaos`; CHAOS_SEED=7 CHAOS_ROUNDS=1 make chaos plays one again, and
CHAOS_FAULT=disk only those of faults with that word. CHAOS_RECORD names a file for a line of JSON about each round."""

import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from copy import copy
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.chaos.people import People, unacknowledged
from tests.chaos.place import ONE, SEVERAL, Place
from tests.chaos.rounds import Round, Rounds, drawn, place_of
from tests.chaos.table import table
from tests.chaos.works import Works

pytestmark = pytest.mark.train

FIRST = int(os.environ.get("CHAOS_SEED", "1"))
COUNT = int(os.environ.get("CHAOS_ROUNDS", "200"))
WANTED = os.environ.get("CHAOS_FAULT", "")
PLAYED: list[Round] = []


@contextmanager
def started(kind: str, folder: Path) -> Iterator[Rounds]:
    with Place(kind) as place, closing(Works(place, folder)) as works:
        loop = copy(works.loop)  # its engine, another project
        loop.slug = works.keep_items(0)
        with People(place.address, loop.engine, loop.slug, 3) as people:
            yield Rounds(place, works, people)
            people.work_to_the_end()
            assert unacknowledged(works.loop.engine, people) == 0
            assert people.check(works.loop.engine, again=True) == []


def play(kind: str, seeds: list[int], folder: Path) -> list[Round]:
    done = []
    with started(kind, folder) as rounds:
        for seed in seeds:
            played = rounds.play(seed)
            print(played, flush=True)
            done.append(played)
    return done


@pytest.mark.chaos
@pytest.mark.parametrize("kind", [ONE, SEVERAL])
def test_nothing_is_lost_whatever_breaks(kind: str, tmp_path: Path) -> None:
    seeds = [seed for seed in range(FIRST, FIRST + COUNT) if place_of(seed) == kind]
    seeds = [seed for seed in seeds if WANTED in drawn(seed)[0].name]
    if not seeds:
        return
    done = play(kind, seeds, tmp_path)
    PLAYED.extend(done)
    print(f"\n{table(PLAYED)}")
    if record := os.environ.get("CHAOS_RECORD"):
        with Path(record).open("a") as file:
            file.writelines(json.dumps(asdict(each)) + "\n" for each in done)
    assert [each for each in done if each.wrong] == []
