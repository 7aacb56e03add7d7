"""Corrections add a row that supersedes: what counts is what no newer row supersedes."""

from sqlalchemy import ColumnElement, exists
from sqlalchemy.orm import aliased

from app.labeling.models import Assignment, Demonstration, Ranking


def is_current(kind: type[Demonstration] | type[Ranking]) -> ColumnElement[bool]:
    """The condition that a demonstration or ranking of a query was not superseded."""
    newer = aliased(kind)
    return ~exists().where(newer.supersedes_id == kind.id)


def is_decision() -> ColumnElement[bool]:
    """The condition that an assignment of a query holds a lead's decision of a disagreement, and no labeler's work."""
    own = aliased(Ranking)
    return exists().where(own.item_id == Assignment.item_id, own.assignment_id == Assignment.id, own.is_adjudication)
