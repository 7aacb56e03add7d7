"""A scale: whole numbers from a lowest to a highest step, 1 to 7 unless its version of the schema says otherwise.

Versions may give a key another range. Figures therefore go by key and range together: what was said from 0 to 2 is not
averaged with what was said from 1 to 7.
"""

import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from app.core.numerals import minus
from app.projects.models import Project, RatingSchema

LEAST, MOST = 1, 7  # what a version means that says nothing of the range, as all did once
MOST_STEPS = 11
FURTHEST = 100  # no step is further from 0


class Scale(NamedTuple):
    """A key with its range."""

    key: str
    least: int = LEAST
    most: int = MOST

    @property
    def name(self) -> str:
        """`overall`, and where the range is not the usual one `toxicity, 0 to 2`."""
        words = self.key.replace("_", " ")
        return words if self.is_usual else f"{words}, {self.range}"

    @property
    def range(self) -> str:
        return range_in_words(self.least, self.most)

    @property
    def is_usual(self) -> bool:
        return (self.least, self.most) == (LEAST, MOST)

    @property
    def steps(self) -> list[int]:
        return list(range(self.least, self.most + 1))


def range_in_words(least: int, most: int) -> str:
    """`-1 to 1`, with a minus that is one."""
    return f"{minus(least)} to {minus(most)}"


def scales_of(fields: Mapping[str, Any]) -> dict[str, Scale]:
    """A version's scales, by key."""
    written = (
        Scale(each["key"], each.get("least", LEAST), each.get("most", MOST)) for each in fields.get("likert", [])
    )
    return {each.key: each for each in written}


Versions = Mapping[uuid.UUID, Mapping[str, Scale]]


def scales_by_version(session: Session, which: ColumnElement[bool]) -> Versions:
    """The scales of these versions of the rating schema, by the version's id."""
    rows = session.execute(select(RatingSchema.id, RatingSchema.fields).where(which))
    return {schema_id: scales_of(fields) for schema_id, fields in rows}


def scales_of_project(session: Session, project: Project) -> Versions:
    return scales_by_version(session, RatingSchema.project_id == project.id)


def grades(likert: Mapping[str, int], schema_id: uuid.UUID | None, versions: Versions) -> dict[Scale, int]:
    """A rating's answers, each under the scale that it was given on."""
    known = versions.get(schema_id, {}) if schema_id else {}
    return {known.get(key, Scale(key)): value for key, value in likert.items()}
