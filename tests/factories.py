"""Rows for tests, each whole and valid; say only what the test is about."""

import itertools

from sqlalchemy.orm import Session

from app.accounts.models import Group, Person, PersonState, Role
from app.labeling.models import Completion
from app.projects import service as projects
from app.projects.models import Project
from app.prompts.models import Prompt, Split, UseCase
from app.prompts.splits import content_hash
from app.registry.models import Model, ModelKind

_numbers = itertools.count(1)


def make_person(
    session: Session,
    *,
    role: Role = Role.labeler,
    group: Group = Group.training,
    project: Project | None = None,
    is_simulated: bool = False,
) -> Person:
    number = next(_numbers)
    person = Person(
        email=f"{role.value}-{number}@example.org",
        name=f"{role.value.title()} {number}",
        role=role,
        group=group,
        state=PersonState.active,
        is_simulated=is_simulated,
    )
    session.add(person)
    session.flush()
    if project is not None:
        projects.add_member(session, project, person)
    return person


def make_project(session: Session, *, name: str = "Story assistant") -> Project:
    """A project with guidelines, taken as accepted, and a rating schema of one scale and two flags."""
    project = projects.create_project(session, name, slug=f"stories-{next(_numbers)}")
    project.settings = {"must_accept_guidelines": False}
    for kind in projects.GuidelinesKind:
        projects.publish_guidelines(session, project, kind, "# Be helpful\n\nPrefer true and harmless texts.")
    projects.publish_rating_schema(
        session,
        project,
        {
            "likert": [{"key": "overall", "label": "Overall quality", "low": 1, "high": 7}],
            "flags": [
                {"key": "fails_task", "label": "Fails the task"},
                {"key": "hallucination", "label": "Hallucination"},
            ],
        },
    )
    return project


def make_prompt(
    session: Session,
    project: Project,
    *,
    text: str | None = None,
    split: Split = Split.train,
    use_case: UseCase = UseCase.generation,
    organisation: str | None = None,
) -> Prompt:
    text = text or f"Write a story about a dog and a ball, number {next(_numbers)}."
    prompt = Prompt(
        project_id=project.id,
        messages=[{"role": "user", "content": text}],
        split=split,
        source="test",
        use_case=use_case,
        source_organisation=organisation,
        content_hash=content_hash([{"role": "user", "content": text}]),
    )
    session.add(prompt)
    session.flush()
    return prompt


def make_model(
    session: Session, project: Project, *, kind: ModelKind = ModelKind.base, name: str | None = None
) -> Model:
    model = Model(project_id=project.id, name=name or f"{kind.value}-{next(_numbers)}", kind=kind, source="test")
    session.add(model)
    session.flush()
    return model


def make_completion(
    session: Session,
    prompt: Prompt,
    *,
    model: Model | None = None,
    text: str | None = None,
    person: Person | None = None,
) -> Completion:
    number = next(_numbers)
    completion = Completion(
        prompt_id=prompt.id,
        model_id=model.id if model else None,
        person_id=person.id if person else None,
        number=number,
        text=text or f"Once upon a time there was a dog. Ending {number}.",
    )
    session.add(completion)
    session.flush()
    return completion
