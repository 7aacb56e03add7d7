"""Sealed text: by a key outside the database, for one purpose, and readable while the key changes."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from typer.testing import CliRunner

from app import cli_keys, doctor
from app.accounts.models import Person
from app.cli import app
from app.core import sealing
from app.core.config import Settings, WrongSettings, get_settings
from app.core.db import reading, writing
from app.projects.models import Project
from app.webhooks.models import Webhook
from tests.conftest import forget_settings

KEY = "k" * 32


@pytest.fixture
def file(installation: Settings) -> Path:
    return installation.state_dir / sealing.FILE


def test_the_first_key_is_made_once_and_for_its_owner_alone(file: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = {tuple(keys) for keys in threads.map(lambda _: sealing.keys(), range(32))}
    assert len(found) == 1
    assert len(file.read_text().strip()) >= 43
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in file.parent.glob("secret.key*")] == ["secret.key"]


def test_what_is_sealed_opens_for_its_purpose_and_in_its_time(installation: Settings) -> None:
    sealed = sealing.seal("three red boats", "webhook")
    assert "boats" not in sealed
    assert sealing.unseal(sealed, "webhook", within=timedelta(minutes=1)) == "three red boats"
    for wrong, purpose, within in ((sealed, "other", None), (sealed[:-2], "webhook", None), ("", "webhook", None)):
        with pytest.raises(sealing.Unreadable):
            sealing.unseal(wrong, purpose, within=within)


@pytest.mark.parametrize(("content", "mode", "said"), [(KEY, 0o644, "read by others"), ("short", 0o600, "too short"),
                                                       ("", 0o600, "no key")])  # fmt: skip
def test_a_key_that_is_no_secret_is_refused(file: Path, content: str, mode: int, said: str) -> None:
    file.write_text(content)
    file.chmod(mode)
    with pytest.raises(WrongSettings, match=said):
        sealing.keys()
    found = doctor.secret_key(get_settings())
    assert (found.state, said in found.found) == (doctor.State.wrong, True)


def test_a_short_key_of_the_settings_is_refused_and_not_shown(installation: Settings, monkeypatch: object) -> None:
    os.environ["TOUCHSTONE_SECRET_KEY"] = f"{KEY},tiny-one"
    try:
        get_settings.cache_clear()
        with pytest.raises(WrongSettings, match="32 characters or more") as refused:
            get_settings()
        assert "tiny" not in refused.value.message
    finally:
        del os.environ["TOUCHSTONE_SECRET_KEY"]
        forget_settings()


def add_webhook(project: Project, admin: Person) -> Webhook:
    with writing() as session:
        row = Webhook(
            project_id=project.id,
            url="https://example.org",
            sealed_secret=sealing.seal("whsec_x", "webhook"),
            events=[],
            created_by=admin.id,
        )
        session.add(row)
        return row


def stored() -> str:
    with reading() as session:
        return str(session.scalar(text("SELECT sealed_secret FROM webhook")))


def test_a_new_key_seals_everything_anew(
    file: Path, project: Project, admin: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook, (old,), before = add_webhook(project, admin), sealing.keys(), stored()
    assert "1 values" in CliRunner().invoke(app, ["rotate-key"]).output
    new, kept = sealing.keys()
    assert (kept, new != old, stored() != before, file.stat().st_mode & 0o777) == (old, True, True, 0o600)
    with reading() as session:
        assert session.get_one(Webhook, webhook.id).secret == "whsec_x"
    file.write_text(new)
    with reading() as session:
        assert (session.get_one(Webhook, webhook.id).secret, sealing.count_unreadable(session)) == ("whsec_x", 0)
    monkeypatch.setattr(get_settings(), "secret_key", SecretStr(f"{KEY},{new}"))
    assert CliRunner().invoke(app, ["rotate-key"]).exit_code == 0
    monkeypatch.setattr(get_settings(), "secret_key", SecretStr(KEY))
    with reading() as session:
        assert session.get_one(Webhook, webhook.id).secret == "whsec_x"


def test_without_its_key_nothing_is_changed_and_the_number_is_told(
    file: Path, project: Project, admin: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_webhook(project, admin)
    before = stored()
    monkeypatch.setattr(get_settings(), "secret_key", SecretStr(KEY))
    refused = CliRunner().invoke(app, ["rotate-key"])
    assert (refused.exit_code, stored() == before) == (1, True)
    with reading() as session:
        assert sealing.count_unreadable(session) == 1


def test_a_rotation_that_fails_as_often_as_it_likes_loses_nothing(
    file: Path, project: Project, admin: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_webhook(project, admin)
    with writing() as session:
        session.execute(text("UPDATE webhook SET sealed_secret = 'gAAAAforged'"))
    webhook, old = add_webhook(project, admin), sealing.keys()
    assert CliRunner().invoke(app, ["rotate-key"]).exit_code == 1
    assert sealing.keys() == old, "refused before the file is touched"
    monkeypatch.setattr(cli_keys, "_refuse_unreadable", lambda _: None)  # as if that one came right behind the look
    for _ in range(3):
        assert CliRunner().invoke(app, ["rotate-key"]).exit_code == 1
    with reading() as session:
        assert session.get_one(Webhook, webhook.id).secret == "whsec_x"
