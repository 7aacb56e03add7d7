"""Corrections add a row that supersedes: what counts is what no newer row supersedes."""

from sqlalchemy import ColumnElement, exists
from sqlalchemy.orm import aliased

from app.labeling.models import Demonstration, Ranking


def is_current(kind: type[Demonstration] | type[Ranking]) -> ColumnElement[bool]:
    """The condition that a demonstration or ranking of a query was not superseded."""
    newer = aliased(kind)
    return ~exists().where(newer.supersedes_id == kind.id)
