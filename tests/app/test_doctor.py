"""The doctor: each thing that can be wrong is found, said in words, and comes with its mend."""

import os
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app import cli, doctor, doctor_queue, vendor
from app.core.clock import now
from app.core.config import Settings
from app.findings import Finding, State
from tests.conftest import forget_settings
from tests.ports import free_port

Change = Callable[..., Settings]


@pytest.fixture
def settings(installation: Settings, tmp_path: Path) -> Settings:
    """Settings of a sound installation."""
    tmp_path.chmod(0o700)
    return installation.model_copy(update={"port": free_port()})


@pytest.fixture
def change(settings: Settings) -> Change:
    return lambda **values: settings.model_copy(update=values)


def is_mendable(finding: Finding) -> bool:
    return finding.state == State.wrong and bool(finding.mend)


def test_a_sound_installation_has_nothing_wrong(settings: Settings) -> None:
    findings = doctor.examine(settings)
    assert [f for f in findings if f.state == State.wrong] == []
    assert len({finding.name for finding in findings}) == len(doctor.CHECKS)
    assert doctor.report(findings).endswith("Everything needed is here.")


def test_every_other_finding_comes_with_its_mend(settings: Settings) -> None:
    assert all(finding.mend for finding in doctor.examine(settings) if finding.state != State.ok)


def test_an_old_python_is_wrong(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.sys, "version_info", (3, 10, 4, "final", 0))
    assert is_mendable(doctor.python(settings))


def test_a_missing_package_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda _name: ["no-such-package>=1", "fastapi>=0.1"])
    finding = doctor.packages(settings)
    assert is_mendable(finding)
    assert finding.found == "not installed: no-such-package"


def test_an_untested_version_is_noted(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "constraints.txt").write_text("fastapi==0.0.1\n")
    monkeypatch.setattr(doctor, "CONSTRAINTS", tmp_path / "constraints.txt")
    finding = doctor.packages(settings)
    assert finding.state == State.note
    assert "fastapi" in finding.found


def test_missing_trainers_are_a_note_because_the_web_works_without(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "TRAINERS", ("torch-that-is-not-there",))
    finding = doctor.trainers(settings)
    assert finding.state == State.note
    assert "[train]" in finding.mend


def test_missing_front_end_files_are_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendor, "missing_files", lambda: ["htmx.min.js"])
    finding = doctor.front_end(settings)
    assert is_mendable(finding)
    assert "htmx.min.js" in finding.found


def test_a_state_folder_under_a_file_is_wrong(change: Change, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert is_mendable(doctor.state_folder(change(state_dir=tmp_path / "file" / "var")))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_state_folder_that_cannot_be_written_is_wrong(change: Change, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert is_mendable(doctor.state_folder(change(state_dir=tmp_path)))


def test_a_state_folder_that_others_can_read_is_noted(settings: Settings, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    finding = doctor.state_folder(settings)
    assert finding.state == State.note
    assert f"chmod 700 {tmp_path}" in finding.mend


def test_a_settings_file_that_others_can_read_is_wrong(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("TOUCHSTONE_DATABASE_URL=secret")
    (tmp_path / ".env").chmod(0o644)
    assert is_mendable(doctor.settings_file(settings))
    (tmp_path / ".env").chmod(0o600)
    assert doctor.settings_file(settings).state == State.ok


@pytest.mark.parametrize(("free", "state"), [(2**20, State.wrong), (2**30, State.note), (2**40, State.ok)])
def test_disk_space_is_judged(settings: Settings, monkeypatch: pytest.MonkeyPatch, free: int, state: State) -> None:
    usage = doctor.shutil.disk_usage("/")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _path: usage._replace(free=free))
    assert doctor.disk(settings).state == state


def test_a_taken_port_is_wrong(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", settings.port)) as other:
        other.settimeout(0)
        finding = doctor.port(settings)
    assert is_mendable(finding)
    assert "already taken" in finding.found


def test_a_database_of_an_older_version_is_wrong(change: Change, tmp_path: Path) -> None:
    older = tmp_path / "older.db"
    older.touch()
    finding = doctor.database(change(database_url=f"sqlite:///{older}"))
    assert is_mendable(finding)
    assert "touchstone migrate" in finding.mend


def test_a_new_installation_has_no_state_yet_and_gets_none_from_looking(
    change: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "var"
    monkeypatch.setenv("TOUCHSTONE_STATE_DIR", str(folder))
    forget_settings()
    findings = doctor.examine(change(state_dir=folder, database_url=None))
    assert [finding for finding in findings if finding.state == State.wrong] == []
    assert not folder.exists()


def test_a_migrated_postgresql_is_sound(change: Change, postgres_url: str) -> None:
    assert doctor.database(change(database_url=postgres_url)).state == State.ok


@pytest.mark.parametrize("seconds", [60, -60])
def test_a_clock_that_is_off_is_wrong(
    change: Change, postgres_url: str, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    settings = change(database_url=postgres_url)
    assert doctor.clock(settings).state == State.ok
    monkeypatch.setattr(doctor, "now", lambda: now() + timedelta(seconds=seconds))
    off = doctor.clock(settings)
    assert is_mendable(off)
    assert ("ahead of" if seconds > 0 else "behind") in off.found


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://me:secret@127.0.0.1:1/none", "postgresql+nodriver://x/y", "not a url"]
)
def test_a_database_that_cannot_be_reached_is_wrong_and_no_password_is_shown(change: Change, url: str) -> None:
    finding = doctor.database(change(database_url=url))
    assert is_mendable(finding)
    assert "secret" not in finding.found


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "redis+socket:///no/such.sock", "ftp://x"])
def test_a_redis_that_does_not_answer_is_wrong(change: Change, url: str) -> None:
    assert is_mendable(doctor_queue.redis_server(change(redis_url=url)))


def test_the_embedded_redis_needs_its_binary(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "started by `touchstone up`" in doctor_queue.redis_server(settings).found
    monkeypatch.setattr(doctor_queue.embedded_redis.importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", "")
    assert is_mendable(doctor_queue.redis_server(settings))


@pytest.mark.parametrize("url", ["nonsense://models", "s3-typo://bucket/models"])
def test_an_unknown_kind_of_artefact_store_is_wrong(change: Change, url: str) -> None:
    assert is_mendable(doctor.artefacts(change(artefacts_url=url)))


def test_command_prints_the_report_and_fails_when_something_is_wrong(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "get_settings", lambda: settings)
    sound = CliRunner().invoke(cli.app, ["doctor"])
    assert sound.exit_code == 0, sound.output
    monkeypatch.setattr(vendor, "missing_files", lambda: ["htmx.min.js"])
    broken = CliRunner().invoke(cli.app, ["doctor"])
    assert broken.exit_code == 1
    assert "python -m app.vendor" in broken.output
    assert "1 to mend." in broken.output
