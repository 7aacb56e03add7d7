"""What labelers said of single completions: the scales' means and the flags' shares of each contestant."""

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.evals.contestants import Contestant, best_of
from app.evals.judgments import ROWS_AT_ONCE, Chosen, Judgments, Numbers, counting
from app.evals.spread import Clusters, Codes, Estimate, Floats, mean_of, share_of
from app.labeling.models import Completion, Rating
from app.labeling.models import Ranking as RankingRow
from app.labeling.questions import flag_keys
from app.projects.models import Project, RatingSchema
from app.prompts.models import Prompt, UseCase
from app.registry.models import Model


@dataclass(frozen=True, slots=True)
class Ratings:
    """N rated completions. A scale without an answer, and a flag that was not asked, are nan."""

    clusters: Clusters  # (N,)
    contestants: list[Contestant]  # (C,)
    contestant: Codes  # (N,)
    scales: dict[str, Floats]  # (N,) each
    flags: dict[str, Floats]  # (N,) each, 1 set and 0 not

    def of(self, contestant: Contestant) -> Chosen:
        """Its rows, (N,)."""
        number = self.contestants.index(contestant) if contestant in self.contestants else -1
        return np.equal(self.contestant, number)

    def scale(self, key: str, contestant: Contestant) -> Estimate | None:
        chosen = self.of(contestant) & ~np.isnan(self.scales[key])
        return mean_of(self.scales[key][chosen], self.clusters.of(chosen))

    def flag(self, key: str, contestant: Contestant) -> Estimate | None:
        """Its share of the completions that labelers were asked about: under a version of the schema that has the flag,
        to a prompt of a use case that it is for."""
        chosen = self.of(contestant) & ~np.isnan(self.flags[key])
        return share_of(self.flags[key][chosen], self.clusters.of(chosen))


def read_ratings(session: Session, project: Project, judgments: Judgments) -> Ratings:
    """Each rated completion of the judgments that count. Versions of the schema differ in what they ask, and of which
    prompts."""
    asked = _asked(session, project)
    columns = (Model.id, best_of(), Prompt.id, RankingRow.person_id, Prompt.use_case, Rating.likert, Rating.flags,
               Rating.rating_schema_id)  # fmt: skip
    rows = session.execute(
        counting(select(*columns), project, judgments)
        .join(Rating, Rating.ranking_id == RankingRow.id)
        .join(Completion, Completion.id == Rating.completion_id)
        .join(Model, Model.id == Completion.model_id)
        .execution_options(yield_per=ROWS_AT_ONCE)
    )
    scales: dict[str, dict[int, float]] = defaultdict(dict)
    flags: dict[str, dict[int, float]] = defaultdict(dict)
    who, prompts, labelers = [], [], []
    for number, (model_id, drawn, prompt_id, person_id, use_case, likert, is_set, schema_id) in enumerate(rows):
        who.append((model_id, drawn))
        prompts.append(prompt_id)
        labelers.append(person_id)
        for key, value in likert.items():
            scales[key][number] = float(value)
        for key in asked.get((schema_id, use_case), frozenset()):
            flags[key][number] = 0.0
        for key in is_set:
            flags[key][number] = 1.0
    contestants = Numbers()
    coded = contestants.of(who)
    return Ratings(
        Clusters(Numbers().of(prompts), Numbers().of(labelers)),
        [Contestant(*each) for each in contestants.things],  # type: ignore[misc]
        coded,
        {key: _column(found, len(who)) for key, found in scales.items()},
        # Of a flag that nobody ever set there is nothing to show.
        {key: _column(found, len(who)) for key, found in sorted(flags.items()) if any(found.values())},
    )


def _column(found: dict[int, float], length: int) -> Floats:
    column = np.full(length, math.nan)
    column[list(found)] = list(found.values())
    return column


def _asked(session: Session, project: Project) -> dict[tuple[object, UseCase], frozenset[str]]:
    schemas = select(RatingSchema.id, RatingSchema.fields).where(RatingSchema.project_id == project.id)
    return {
        (schema_id, use_case): frozenset(flag_keys(fields, use_case))
        for schema_id, fields in session.execute(schemas)
        for use_case in UseCase
    }
