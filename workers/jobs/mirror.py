"""A run's checkpoints in a store that lies elsewhere, so that a worker on any machine goes on from them.

The folder is put there as it stands while its trainer waits for the answer to a step: what another machine finds is
what a kill at that moment would have left here. Files are put under names of their own, then a manifest that names
them, then those that it names no more are removed.
"""

import json
import shutil
import time
import uuid
from typing import Any

from app.core.errors import NotFound
from app.core.storage import Artefacts

MANIFEST = "manifest.json"
PUT_EVERY = 60.0  # seconds at least between two: a run that checkpoints every second would wait for the store only


class Mirror:
    """What the store has of one run's folder. With a store on this machine the folder is the store."""

    def __init__(self, store: Artefacts, key: str) -> None:
        self.store, self.key = store, key
        self.folder = store.working_folder(key)
        self.note = self.folder.with_name(f"{self.folder.name}.json")  # the manifest that the folder here agrees with
        self.put_at = -PUT_EVERY

    def fetch(self) -> None:
        """The folder as another machine left it; one that was last put by this machine may be further, and stays."""
        if self.store.is_local:
            return
        there = self._manifest()
        if there is None or there["version"] == self._noted().get("version"):
            return
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        self.note.unlink(missing_ok=True)
        try:
            self.store.get_files(
                (f"{self.key}/{kept}", self.folder / name) for name, (kept, *_) in there["files"].items()
            )
        except FileNotFoundError:  # two workers had the run: what only one of them knew is gone, and it starts over
            shutil.rmtree(self.folder)
            self.folder.mkdir()
            return
        stands = self._stands()
        files = {name: [kept, *stands[name]] for name, (kept, *_) in there["files"].items()}
        self.note.write_text(json.dumps(there | {"files": files}))

    def put(self, *, now: bool = False) -> None:
        """Put what changed, if the last time is long enough ago."""
        if self.store.is_local or (not now and time.monotonic() - self.put_at < PUT_EVERY):
            return
        self.put_at = time.monotonic()
        stands, noted = self._stands(), self._noted().get("files", {})
        files = {
            name: noted[name] if noted.get(name, [])[1:] == stand else [uuid.uuid4().hex, *stand]
            for name, stand in stands.items()
        }
        if files == noted:
            return
        new = {name: kept for name, (kept, *_) in files.items() if noted.get(name) != files[name]}
        self.store.put_files((self.folder / name, f"{self.key}/{kept}") for name, kept in new.items())
        manifest = json.dumps({"version": uuid.uuid4().hex, "files": files})
        with self.store.writing(f"{self.key}/{MANIFEST}") as file:
            file.write(manifest.encode())
        self.note.write_text(manifest)
        named = {kept for kept, *_ in files.values()} | {MANIFEST}
        for name, _ in self.store.files(self.key):
            if name not in named:
                self.store.remove(f"{self.key}/{name}")
        self.put_at = time.monotonic()

    def leave(self) -> None:
        """The run goes on elsewhere, or not now: its folder is in the store, and takes no room here."""
        if not self.store.is_local:
            self.put(now=True)
            shutil.rmtree(self.folder, ignore_errors=True)
            self.note.unlink(missing_ok=True)

    def clear_up(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.note.unlink(missing_ok=True)
        if not self.store.is_local:
            self.store.remove(self.key)

    def _manifest(self) -> dict[str, Any] | None:
        try:
            with self.store.reading(f"{self.key}/{MANIFEST}") as file:
                found: dict[str, Any] = json.load(file)
        except NotFound:
            return None
        return found

    def _noted(self) -> dict[str, Any]:
        try:
            noted: dict[str, Any] = json.loads(self.note.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return noted

    def _stands(self) -> dict[str, list[int]]:
        """Each file's size and when it was changed, but what is being written now."""
        paths = {str(path.relative_to(self.folder)): path for path in sorted(self.folder.rglob("*")) if path.is_file()}
        facts = {name: path.stat() for name, path in paths.items() if ".partial" not in name}
        return {name: [each.st_size, each.st_mtime_ns] for name, each in facts.items()}
