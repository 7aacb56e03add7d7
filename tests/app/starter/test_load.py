import json
import struct
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.accounts import service as accounts
from app.accounts.models import Person
from app.core.config import Settings
from app.core.db import reading, writing
from app.core.errors import Invalid
from app.labeling.models import Demonstration
from app.projects import service as projects
from app.projects.models import GuidelinesKind, Project
from app.prompts.models import PlainText, Prompt, Split, UseCase
from app.prompts.splits import split_of
from app.registry.models import Model, ModelState
from app.starter import load


@pytest.fixture
def starter(installation: Settings) -> Project:
    with writing() as session:
        return load.load_starter(session)


def rows(session: Session, table: type) -> int:
    return session.scalar(select(func.count()).select_from(table)) or 0


def test_the_starter_is_whole(starter: Project) -> None:
    with reading() as session:
        found = session.scalars(select(Prompt)).all()
        assert len(found) >= 120
        assert {prompt.use_case for prompt in found} == set(UseCase)
        splits = Counter(prompt.split for prompt in found)
        assert min(splits[Split.valid], splits[Split.test]) >= 20
        by_prompt = {prompt.id: prompt for prompt in found}
        written = Counter(by_prompt[d.prompt_id].split for d in session.scalars(select(Demonstration)))
        assert written.total() >= 60
        assert written[Split.valid] >= 8
        assert written[Split.test] == 0
        assert rows(session, PlainText) >= 500
        schema = projects.newest_rating_schema(session, starter)
        assert schema is not None
        assert len(schema.fields["likert"]) == 1
        assert len(schema.fields["flags"]) == 11  # the paper's Table 3
        for kind in GuidelinesKind:
            assert projects.newest_guidelines(session, starter, kind) is not None


def test_the_starters_splits_are_those_of_its_organisations(starter: Project) -> None:
    with reading() as session:
        for prompt in session.scalars(select(Prompt)):
            assert prompt.source_organisation is not None
            assert prompt.split is split_of(prompt.source_organisation)


def test_loading_again_changes_nothing(starter: Project) -> None:
    tables = (Prompt, Demonstration, PlainText, Model, Person)
    with reading() as session:
        before = [rows(session, table) for table in tables]
    with writing() as session:
        assert load.load_starter(session).id == starter.id
        assert [rows(session, table) for table in tables] == before


def test_no_one_can_sign_in_as_its_authors(starter: Project) -> None:
    with reading() as session, pytest.raises(Invalid):
        accounts.person_by_password(session, load.AUTHORS, "")


def test_demonstrations_answer_their_prompts_and_end(starter: Project) -> None:
    openings: Counter[str] = Counter()
    for row in load._lines("demonstrations.jsonl"):
        text = row["completion"]
        assert 20 <= len(text.split()) <= 130, text
        assert text[-1] in '.!?"', text
        openings[" ".join(text.split()[:3])] += 1
    assert openings.most_common(1)[0][1] <= 3


def test_a_model_beside_it_is_ready_at_once(
    installation: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = json.dumps({"__metadata__": {}, "a": {"shape": [2, 3]}, "b": {"shape": [4]}}).encode()
    folder = tmp_path / "starter"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    (folder / "config.json").write_text('{"max_position_embeddings": 512}')
    monkeypatch.setattr(load, "MODEL", folder)
    with writing() as session:
        load.load_starter(session)
        model = session.scalars(select(Model)).one()
    assert (model.state, model.parameters, model.context) == (ModelState.ready, 10, 512)
    assert (installation.state_dir / "artefacts" / str(model.storage_key) / "config.json").is_file()
