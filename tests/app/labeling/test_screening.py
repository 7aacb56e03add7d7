"""Screening from the candidate's desk to the admin's decision, through HTTP."""

import uuid
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from app.accounts.models import AuditEvent, Group, Person, PersonState
from app.core.db import reading, writing
from app.labeling import service
from app.labeling.leases import lease_next
from app.labeling.models import DemonstrationGrade, Item, ItemPurpose, SelfAssessment
from app.labeling.plans import follow_labelers
from app.labeling.questions import sensitive_flags
from app.labeling.schemas import Submission
from app.labeling.screening import Candidate, candidate
from app.labeling.submissions import submit
from app.projects import service as projects
from app.projects.models import Project, RatingSchema
from tests.app.labeling.rows import make_demonstration_batch, make_ranking_batch
from tests.factories import make_person, make_prompt

SignIn = Callable[[Person], TestClient]


@pytest.fixture
def screened(sign_in: SignIn, admin: Person, project: Project) -> list[Person]:
    """Two candidates and a screening of two items (ours: C > A = B, B hallucinates) and two demonstrations."""
    with writing() as session:
        people = [make_person(session, project=project) for _ in range(2)]
        for person in people:
            session.get_one(Person, person.id).state = PersonState.screening
        bank = make_ranking_batch(session, project, items=2, completions=3)
        service.change_state(session, bank, service.BatchState.paused, by=admin)
        bank_items = session.scalars(select(Item.id).where(Item.batch_id == bank.id)).all()
        make_prompt(session, project, text="May I read my child's letters?")
        make_prompt(session, project, text="Is my neighbour's god a lie?")
    client, start = sign_in(admin), f"/p/{project.slug}/labeling"
    for item_id in bank_items:
        ours = {"purpose": "gold", "rank_A": "2", "rank_B": "2", "rank_C": "1", "flags_B": "hallucination"}
        assert client.post(f"{start}/batches/{bank.id}/items/{item_id}", data=ours).status_code == 303
    form = {"answered": "2", "count": "2", "search": "?", "name": "Test"}
    assert client.post(f"{start}/screenings", data=form).status_code == 303
    return people


def take(person: Person, project: Project, *, agreeing: bool) -> None:
    """Do all items of the screening; one who does not agree ranks the other way round and flags the wrong one."""
    with writing() as session:
        person = session.get_one(Person, person.id)
        while (assignment := lease_next(session, person, project)) is not None:
            gold = session.get_one(Item, assignment.item_id).gold
            key = str(uuid.uuid4())
            if not assignment.shown_order:
                sent = Submission(text="It depends.", submission_key=key)
            else:
                assert gold is not None
                ranks = [
                    gold["ranks"][each] if agreeing else 3 - gold["ranks"][each] for each in assignment.shown_order
                ]
                flagged = [bool(gold["flags"][each]) == agreeing for each in assignment.shown_order]
                ratings = {
                    letter: {"flags": ["hallucination"]}
                    for letter, is_set in zip("ABC", flagged, strict=True)
                    if is_set
                }
                sent = Submission(ranks=dict(zip("ABC", ranks, strict=True)), ratings=ratings, submission_key=key)
            submit(session, person, assignment.id, sent)


def measured(project: Project, person: Person) -> Candidate:
    with reading() as session:
        return candidate(session, project, person.id)


def test_figures_of_a_good_and_a_poor_candidate(project: Project, screened: list[Person]) -> None:
    good, poor = screened
    take(good, project, agreeing=True)
    take(poor, project, agreeing=False)
    best, worst = measured(project, good), measured(project, poor)
    assert (best.submitted, best.wanted, len(best.written)) == (4, 4, 2)
    assert (best.flags.value, best.flags.of, best.rankings.value, best.rankings.of) == (1.0, 6, 1.0, 4)
    assert (worst.flags.value, worst.rankings.value) == (0.0, 0.0)
    assert best.grade is None


def test_candidates_get_nothing_else_and_newcomers_get_it_all(
    sign_in: SignIn, project: Project, screened: list[Person]
) -> None:
    with writing() as session:
        make_demonstration_batch(session, project, items=3, priority=50)
        newcomer = make_person(session, project=project)
        session.get_one(Person, newcomer.id).state = PersonState.screening
    for person in screened:
        take(person, project, agreeing=True)
    with writing() as session:
        follow_labelers(session)
    take(newcomer, project, agreeing=True)
    assert [measured(project, each).submitted for each in (*screened, newcomer)] == [4, 4, 4]
    page = sign_in(newcomer).get(f"/p/{project.slug}/desk").text
    assert "You are being screened" in page
    assert "/self-assessment" in page


def test_an_admin_grades_and_the_newest_grade_counts(
    sign_in: SignIn, admin: Person, project: Project, screened: list[Person]
) -> None:
    take(screened[0], project, agreeing=True)
    client, page = sign_in(admin), f"/p/{project.slug}/labeling/screening/{screened[0].id}"
    first, second = (each.demonstration.id for each in measured(project, screened[0]).written)
    for demonstration, grade in ((first, "4"), (first, "7"), (second, "6")):
        assert client.post(f"{page}/grades/{demonstration}", data={"grade": grade}).status_code == 303
    for wrong in ("8", "", "good"):
        assert client.post(f"{page}/grades/{first}", data={"grade": wrong}).status_code == 422
    assert measured(project, screened[0]).grade == 6.5
    assert "6.5 of 7" in client.get(page).text
    assert "It depends." in client.get(page).text
    with reading() as session:
        assert sorted(session.scalars(select(DemonstrationGrade.grade))) == [4, 6, 7]
    with writing() as session:
        other = service.record_demonstration(session, make_prompt(session, project), admin, "Imported.")
    assert client.post(f"{page}/grades/{other.id}", data={"grade": "5"}).status_code == 404


@pytest.mark.parametrize(
    ("decision", "state", "group"),
    [
        ("training", PersonState.active, Group.training),
        ("held_out", PersonState.active, Group.held_out),
        ("declined", PersonState.paused, Group.training),
    ],
)
def test_the_admin_decides_and_the_log_keeps_the_figures(
    sign_in: SignIn,
    admin: Person,
    project: Project,
    screened: list[Person],
    decision: str,
    state: PersonState,
    group: Group,
) -> None:
    take(screened[0], project, agreeing=True)
    with writing() as session:
        session.execute(update(Person).where(Person.id == screened[0].id).values(password_hash="set"))
    client, page = sign_in(admin), f"/p/{project.slug}/labeling/screening/{screened[0].id}"
    assert client.post(f"{page}/decision", data={"decision": decision}).status_code == 303
    with reading() as session:
        person = session.get_one(Person, screened[0].id)
        event = session.scalars(select(AuditEvent).where(AuditEvent.action == "screening.decide")).one()
    assert (person.state, person.group) == (state, group)
    assert (event.person_id, event.details["decision"], event.details["rankings"]) == (admin.id, decision, 1.0)
    assert client.get(page).status_code == 200, "the figures stay to be seen"
    assert client.post(f"{page}/decision", data={"decision": "training"}).status_code == 409


def test_self_assessment_is_kept_changed_and_shown_to_the_admin(
    sign_in: SignIn, admin: Person, project: Project, screened: list[Person]
) -> None:
    client, address = sign_in(screened[0]), f"/p/{project.slug}/self-assessment"
    for groups in ("Farmers", "Sailors <b>"):
        form = {"topics": ["religion", "unknown"], "avoided": "violence", "groups": groups}
        assert client.post(address, data=form).status_code == 303
    assert 'value="religion" checked' in client.get(address).text
    too_long = client.post(address, data={"note": "x" * 5001})
    assert (too_long.status_code, "x" * 100 in too_long.text) == (422, True)
    with reading() as session:
        kept = session.scalars(select(SelfAssessment)).one()
    assert kept.answers["topics"] == ["religion"]
    page = sign_in(admin).get(f"/p/{project.slug}/labeling/screening/{screened[0].id}").text
    assert "Sailors &lt;b&gt;" in page
    assert "Religion" in page


def test_an_empty_or_impossible_screening_is_refused(sign_in: SignIn, admin: Person, project: Project) -> None:
    client, address = sign_in(admin), f"/p/{project.slug}/labeling/screenings"
    assert "tells nothing" in client.post(address, data={"answered": "0", "count": "0"}).text
    refused = client.post(address, data={"answered": "3", "count": "0"})
    assert (refused.status_code, "there are 0" in refused.text) == (422, True)
    assert "Nobody is being screened" in client.get(f"/p/{project.slug}/labeling/screening").text


def test_only_admins_see_candidates(
    sign_in: SignIn, researcher: Person, project: Project, screened: list[Person]
) -> None:
    start = f"/p/{project.slug}/labeling/screening"
    for person in (researcher, screened[1]):
        client = sign_in(person)
        for address in (start, f"{start}/{screened[0].id}"):
            assert client.get(address).status_code == 403
        assert client.post(f"{start}/{screened[0].id}/decision", data={"decision": "training"}).status_code == 403


def test_known_answers_of_a_screening_are_gold(project: Project, screened: list[Person]) -> None:
    with reading() as session:
        purposes = list(session.scalars(select(Item.purpose).order_by(Item.created_at, Item.position)))
    assert purposes.count(ItemPurpose.gold) == 4, "two in the bank, two in the screening"


def test_flags_that_were_not_asked_are_no_agreement(
    project: Project, screened: list[Person], sign_in: SignIn, admin: Person
) -> None:
    """Where no sensitive flag was asked, both are silent: that tells nothing of the candidate."""
    take(screened[0], project, agreeing=True)
    before = measured(project, screened[0]).flags.of
    with writing() as session:
        fields = projects.newest_rating_schema(session, project).fields
        limited = [{**each, "sensitive": True, "use_cases": ["closed_qa"]} for each in fields["flags"]]
        session.execute(update(RatingSchema).values(fields={**fields, "flags": limited}))
    assert (before, measured(project, screened[0]).flags.of) == (6, 0)


def test_sensitive_flags_are_those_marked_or_all() -> None:
    flags = [{"key": "rude", "label": "Rude", "sensitive": True}, {"key": "long", "label": "Long"}]
    assert sensitive_flags({"flags": flags}) == {"rude"}
    assert sensitive_flags({"flags": flags[1:]}) == {"long"}
    assert sensitive_flags({}) == set()
