"""Which labels a filter takes, as conditions of a query."""

from sqlalchemy import ColumnElement, and_, exists, or_
from sqlalchemy.orm import aliased

from app.accounts.models import Group, Person
from app.datasets.schemas import SnapshotFilter
from app.labeling.models import Assignment, Batch, BatchKind, Demonstration, Item, ItemPurpose, Ranking
from app.projects.models import Project, Round
from app.prompts.models import Prompt
from app.quality.exclusions import is_left_out


def of_decisions(project: Project, wanted: SnapshotFilter) -> ColumnElement[bool]:
    """Where a lead decided a disagreement, the decision counts and the labelers' rankings of the item don't. A decision
    that the filter leaves out decides nothing."""
    if not wanted.use_adjudications:
        return Ranking.is_adjudication.is_(False)
    decision, lead, made_on, newer = aliased(Ranking), aliased(Person), aliased(Assignment), aliased(Ranking)
    decided = exists().where(
        decision.item_id == Ranking.item_id,
        decision.is_adjudication,
        ~exists().where(newer.supersedes_id == decision.id),
        lead.id == decision.person_id,
        made_on.id == decision.assignment_id,
        *of_labels(project, wanted, decision, lead, made_on),
    )
    return or_(Ranking.is_adjudication, ~decided)


def of_prompts(project: Project, wanted: SnapshotFilter) -> list[ColumnElement[bool]]:
    conditions = [Prompt.project_id == project.id, Prompt.is_retired.is_(False)]
    if wanted.splits:
        conditions.append(Prompt.split.in_(wanted.splits))
    if wanted.use_cases:
        conditions.append(Prompt.use_case.in_(wanted.use_cases))
    if wanted.ids:
        conditions.append(Prompt.id.in_(wanted.ids))
    return conditions


def of_batches(wanted: SnapshotFilter, kind: BatchKind) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.purpose == "training":  # imported demonstrations have no batch; answers to items that teach are practice
        conditions += [or_(Batch.id.is_(None), Batch.kind == kind)]
        conditions += [or_(Item.id.is_(None), Item.purpose != ItemPurpose.training)]
    if wanted.rounds:
        conditions.append(Round.number.in_(wanted.rounds))
    return conditions


def of_labels(
    project: Project,
    wanted: SnapshotFilter,
    label: type[Demonstration] | type[Ranking],
    person: type[Person],
    assignment: type[Assignment],
) -> list[ColumnElement[bool]]:
    conditions = [~is_left_out(project, label)]
    if wanted.purpose == "training":  # imported demonstrations have no assignment
        imported = and_(assignment.id.is_(None), person.group == Group.training)
        conditions.append(or_(imported, assignment.group == Group.training))
    if not wanted.include_simulated:
        conditions.append(person.is_simulated.is_(False))
    if wanted.until:
        conditions.append(label.created_at < wanted.until)
    return conditions
