"""Which snapshots hold something of a prompt or of a labeler: read from the files themselves, one column of each."""

from sqlalchemy.orm import Session

from app.accounts.models import Person
from app.core.storage import get_artefacts
from app.datasets.gathering import pseudonym
from app.datasets.models import Snapshot, SnapshotKind
from app.datasets.service import snapshots_of
from app.projects.models import Project
from app.prompts.models import Prompt

_OF_LABELS = (SnapshotKind.comparisons, SnapshotKind.demonstrations)
Held = list[tuple[Snapshot, int]]


def holding_prompt(session: Session, project: Project, prompt: Prompt) -> Held:
    """Snapshots with rows of this prompt, and how many, the newest first."""
    columns = {**dict.fromkeys(_OF_LABELS, "prompt_id"), SnapshotKind.prompts: "id"}
    return _holding(session, project, columns, str(prompt.id))


def holding_labeler(session: Session, project: Project, person: Person) -> Held:
    """Snapshots with labels of this person, and how many, the newest first."""
    return _holding(session, project, dict.fromkeys(_OF_LABELS, "labeler"), pseudonym(project.id, person.id))


def _holding(session: Session, project: Project, columns: dict[SnapshotKind, str], value: str) -> Held:
    from app.datasets.parquet import count_rows_with

    found: Held = []
    for snapshot in snapshots_of(session, project):
        if snapshot.kind in columns:
            with get_artefacts().reading(snapshot.storage_key) as file:
                count = count_rows_with(file, columns[snapshot.kind], value)
            found += [(snapshot, count)] if count else []
    return found
