"""The front-end libraries: pinned, installed by npm, and told from stale ones."""

import json
import shutil
from pathlib import Path

import pytest

from app import vendor

ROOT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


def test_install_brings_the_pinned_libraries(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "vendor"
    assert not vendor.is_current(root, folder)
    wanted = json.loads((root / "package.json").read_text())["dependencies"]
    assert vendor.install(root, folder) == wanted
    assert vendor.missing_files(folder) == []
    assert vendor.is_current(root, folder)
    assert "htmx" in (folder / "htmx.min.js").read_text()
    assert "export" in (folder / "uPlot.esm.js").read_text()


def test_what_only_the_tests_load_stays_out_of_the_pages(root: Path, tmp_path: Path) -> None:
    vendor.install(root, tmp_path / "tests", vendor.TEST_FILES)
    assert vendor.is_current(root, tmp_path / "tests", vendor.TEST_FILES)
    assert "axe" in (tmp_path / "tests" / "axe.min.js").read_text()
    assert not {"axe.min.js"} & {Path(file).name for files in vendor.FILES.values() for file in files}


def test_a_changed_lock_makes_what_is_there_stale(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "vendor"
    vendor.install(root, folder)
    (root / "package-lock.json").write_text((root / "package-lock.json").read_text() + "\n")
    assert not vendor.is_current(root, folder)


def test_a_lock_that_does_not_match_is_refused_and_leaves_what_was_there(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "vendor"
    vendor.install(root, folder)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    lock = json.loads((root / "package-lock.json").read_text())
    lock["packages"]["node_modules/uplot"]["integrity"] = "sha512-" + "A" * 86 + "=="
    (root / "package-lock.json").write_text(json.dumps(lock))
    with pytest.raises(vendor.CannotVendor, match="npm could not install"):
        vendor.install(root, folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_without_any_npm_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(vendor.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(vendor.CannotVendor, match="There is no npm here"):
        vendor.npm_command()
