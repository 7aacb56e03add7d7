"""What the database has of what was acknowledged."""

import uuid
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Engine, select

from app.core.db import reading
from app.labeling.bench import letters_of
from app.labeling.models import Assignment, AssignmentState, Item, Ranking, RankingPlace


@dataclass(frozen=True, slots=True)
class Stored:
    doubles: int  # items that more people finished than were wanted
    lost: int  # acknowledged rankings that are not there, or not as they were acknowledged


def look_up(engine: Engine, acknowledged: Mapping[str, Mapping[str, int]]) -> Stored:
    ids = [uuid.UUID(each) for each in acknowledged]
    lost = doubles = 0
    with reading(engine) as session:
        for start in range(0, len(ids), 500):
            some = ids[start : start + 500]
            assignments = session.scalars(select(Assignment).where(Assignment.id.in_(some))).all()
            places: dict[uuid.UUID, list[tuple[uuid.UUID, int]]] = defaultdict(list)
            query = select(Ranking.assignment_id, RankingPlace.completion_id, RankingPlace.rank)
            query = query.join(RankingPlace, RankingPlace.ranking_id == Ranking.id)
            items = [each.item_id for each in assignments]  # through their index: of assignments rankings have none
            query = query.where(Ranking.item_id.in_(items), Ranking.assignment_id.in_(some))
            for assignment, completion, rank in session.execute(query):
                places[assignment].append((completion, rank))
            kept = sum(sorted(places[each.id]) == _as_places(each, acknowledged) for each in assignments)
            lost += len(some) - kept
            # Counted here: asked for a state, SQLite goes through all that are in it.
            states = select(Item.id, Item.wanted, Assignment.state).join(Assignment, Assignment.item_id == Item.id)
            finished: Counter[tuple[uuid.UUID, int]] = Counter()
            for item, wanted, state in session.execute(states.where(Item.id.in_(items))):
                finished[item, wanted] += state == AssignmentState.submitted
            doubles += sum(times > wanted for (_, wanted), times in finished.items())
    return Stored(doubles, lost)


def _as_places(assignment: Assignment, acknowledged: Mapping[str, Mapping[str, int]]) -> list[tuple[uuid.UUID, int]]:
    shown = letters_of(assignment)
    return sorted((shown[letter], rank) for letter, rank in acknowledged[str(assignment.id)].items())
