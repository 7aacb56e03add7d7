"""What held-out labelers made stays out of training data, whatever becomes of the people."""

import uuid

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.accounts.models import Group, Person
from app.core.clock import now
from app.core.errors import Invalid
from app.datasets.gathering import gather
from app.datasets.models import SnapshotKind
from app.datasets.schemas import SnapshotFilter
from app.labeling import service as labeling
from app.labeling.leases import lease_next
from app.labeling.models import Assignment, AssignmentState
from app.labeling.schemas import Submission
from app.labeling.submissions import submit
from app.projects.models import Project
from tests.app.datasets.labels import make_ranking
from tests.factories import make_person, make_project, make_prompt


def write_at_the_desk(session: Session, project: Project, person: Person, text: str) -> None:
    """Open a batch for the person's group, lease its only item and submit it, as the labeler would."""
    prompts = [make_prompt(session, project)]
    labeling.create_demonstration_batch(session, project, prompts=prompts, group=person.group)
    assignment = lease_next(session, person, project)
    assert assignment is not None
    submit(session, person, assignment.id, Submission(text=text, submission_key=str(uuid.uuid4())))
    assert assignment.group == person.group


def test_moving_a_person_between_groups_moves_none_of_their_labels(session: Session) -> None:
    project, person = make_project(session), make_person(session, group=Group.held_out)
    write_at_the_desk(session, project, person, "Written while held out.")
    held_out = make_ranking(session, project, person, [1, 2])
    person.group = Group.training
    session.flush()
    write_at_the_desk(session, project, person, "Written for training.")
    training = make_ranking(session, project, person, [1, 2])
    for group in (Group.training, Group.held_out):
        person.group = group
        session.flush()
        written = gather(session, project, SnapshotKind.demonstrations, SnapshotFilter())
        ranked = gather(session, project, SnapshotKind.comparisons, SnapshotFilter())
        assert [row["completion"] for row in written] == ["Written for training."]
        assert [row["id"] for row in ranked] == [str(training.id)]
    everything = gather(session, project, SnapshotKind.comparisons, SnapshotFilter(purpose="evaluation"))
    assert {row["id"] for row in everything} == {str(training.id), str(held_out.id)}


def test_no_submission_can_lack_its_group(session: Session) -> None:
    project, person = make_project(session), make_person(session)
    item_id = make_ranking(session, project, person, [1, 2]).item_id
    session.add(
        Assignment(
            item_id=item_id,
            person_id=make_person(session).id,
            lease_until=now(),
            state=AssignmentState.submitted,
        )
    )
    with pytest.raises(IntegrityError, match="submitted_with_group"):
        session.flush()


def test_a_held_out_labeler_can_not_be_the_author_of_an_import(session: Session) -> None:
    project, person = make_project(session), make_person(session, group=Group.held_out)
    with pytest.raises(Invalid, match="held-out"):
        labeling.record_demonstration(session, make_prompt(session, project), person, "A story.")
