"""A model goes out as a folder with its card, and is deleted with its descendants named and its lineage whole."""

import io
import tarfile
from pathlib import Path

import pytest

from app.accounts.models import Person
from app.core.db import reading, writing
from app.core.storage import get_artefacts
from app.projects.models import Project
from app.registry.models import Model, ModelKind, ModelState
from app.runs.configs import RunKind
from app.runs.models import RunInput, RunState
from tests.app.runs.rows import make_run
from tests.conftest import SignIn
from tests.factories import make_model


@pytest.fixture
def stored(project: Project, tmp_path: Path, client: object) -> Model:
    """A ready model with files in the store."""
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 5000)
    (folder / "README.md").write_text("the trainer's own")
    get_artefacts().put_folder("models/stored", folder)
    with writing() as session:
        model = make_model(session, project, name="policy-round-1", kind=ModelKind.policy)
        model.storage_key, model.parameters, model.metrics = "models/stored", 4_700_000, {"reward": 0.5}
    return model


def unpacked(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as packed:
        return {member.name: packed.extractfile(member).read() for member in packed.getmembers()}  # type: ignore[union-attr]


def test_a_model_is_downloaded_as_an_ordinary_folder_with_its_card(
    sign_in: SignIn, researcher: Person, project: Project, stored: Model
) -> None:
    client, page = sign_in(researcher), f"/p/{project.slug}/models/{stored.id}"
    answer = client.get(f"{page}/model.tar")
    files = unpacked(answer.content)
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert set(files) == {f"policy-round-1/{name}" for name in ("config.json", "model.safetensors", "README.md")}
    assert files["policy-round-1/model.safetensors"] == bytes(range(256)) * 5000
    assert files["policy-round-1/README.md"].decode() == client.get(f"{page}/card.md").text


@pytest.mark.parametrize("start", [0, 100, 512, 1000, 1_280_700, 1_281_000])
def test_a_download_that_broke_off_goes_on(
    sign_in: SignIn, researcher: Person, project: Project, stored: Model, start: int
) -> None:
    client, address = sign_in(researcher), f"/p/{project.slug}/models/{stored.id}/model.tar"
    whole = client.get(address)
    rest = client.get(address, headers={"Range": f"bytes={start}-", "If-Range": whole.headers["etag"]})
    assert rest.status_code == 206
    assert whole.content[:start] + rest.content == whole.content


def test_the_card_says_where_the_model_comes_from_and_what_it_cannot_do(
    sign_in: SignIn, researcher: Person, project: Project, stored: Model
) -> None:
    with writing() as session:
        run = make_run(session, project, kind=RunKind.ppo, name="ppo_round_1", state=RunState.succeeded)
        session.get_one(Model, stored.id).run_id = run.id
    card = sign_in(researcher).get(f"/p/{project.slug}/models/{stored.id}/card.md").text
    for words in ("library_name: transformers", "4,700,000 parameters", "ppo\\_round\\_1", "| reward | 0.5 |",
                  "KL coefficient", "C.4", "its reward model's mistakes", "5.3"):  # fmt: skip
        assert words in card, words


def test_deleting_names_what_came_of_it_and_keeps_the_lineage(
    sign_in: SignIn, admin: Person, researcher: Person, project: Project, stored: Model
) -> None:
    with writing() as session:
        run = make_run(session, project, name="next", state=RunState.succeeded, model=session.merge(stored))
        child = make_model(session, project, name="its-child", kind=ModelKind.sft)
        child.run_id, child.parent_id = run.id, stored.id
    page = f"/p/{project.slug}/models/{stored.id}"
    assert sign_in(researcher).post(f"{page}/delete").status_code == 403
    client = sign_in(admin)
    assert "its-child" in client.get(f"{page}/delete").text
    assert get_artefacts().exists("models/stored")
    assert client.post(f"{page}/delete").status_code == 303
    assert not get_artefacts().exists("models/stored")
    assert "Its files were deleted" in client.get(page).text
    assert "policy-round-1" in client.get(f"/p/{project.slug}/models/{child.id}").text
    assert client.get(f"{page}/model.tar").status_code == 409
    assert client.post(f"{page}/delete").status_code == 409


def test_a_model_that_a_run_reads_is_kept(sign_in: SignIn, admin: Person, project: Project, stored: Model) -> None:
    with writing() as session:
        run = make_run(session, project, kind=RunKind.ppo, name="ppo-at-work")
        session.add(RunInput(run_id=run.id, part="reward_model", model_id=stored.id))
    client, page = sign_in(admin), f"/p/{project.slug}/models/{stored.id}"
    assert "ppo-at-work" in client.get(f"{page}/delete").text
    refused = client.post(f"{page}/delete")
    assert (refused.status_code, "ppo-at-work" in refused.text) == (409, True)
    with reading() as session:
        assert session.get_one(Model, stored.id).state == ModelState.ready
    assert get_artefacts().exists("models/stored")


def test_files_that_another_model_has_too_stay(sign_in: SignIn, admin: Person, project: Project, stored: Model) -> None:
    with writing() as session:
        make_model(session, project, name="twin").storage_key = "models/stored"
    sign_in(admin).post(f"/p/{project.slug}/models/{stored.id}/delete")
    assert get_artefacts().exists("models/stored")
