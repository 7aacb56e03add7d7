"""Snapshots: downloaded in any form, going on where a download broke off."""

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from touchstone.connection import Connection, checked
from touchstone.downloads import download

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Labels or prompts as they were when they were frozen. `sha256` names their content."""

    id: str
    kind: str
    sha256: str
    rows: int
    counts: dict[str, int]
    filter: dict[str, Any]
    frozen_at: datetime
    downloads: dict[str, str]
    connection: Connection = field(repr=False, compare=False)

    @property
    def forms(self) -> list[str]:
        """What it can be downloaded as."""
        return list(self.downloads)

    def download(
        self, path: str | os.PathLike[str], *, form: str = "", file_type: str = "jsonl", split: str = ""
    ) -> Path:
        """The file at `path`, whole or not at all. Broken off, also by the end of this program, it goes on from there.

        `form`: one of `forms`, the first if none is named. `file_type`: jsonl, csv or parquet. `split`: train, valid or
        test; all if none is named.
        """
        return download(self.connection, self._address(form, file_type, split), path)

    def iter_rows(self, *, form: str = "", split: str = "") -> Iterator[dict[str, Any]]:
        """Row by row, as they arrive; nothing is kept."""
        with self.connection.http.stream("GET", self._address(form, "jsonl", split)) as response:
            for line in checked(response).iter_lines():
                yield json.loads(line)

    def dataset(self, *, form: str = "", split: str = "") -> "Dataset":
        """Its rows as a `datasets.Dataset`. Needs `pip install 'touchstone-client[datasets]'`."""
        try:
            from datasets import Dataset
        except ImportError as error:
            raise ImportError("This needs the package: pip install 'touchstone-client[datasets]'") from error
        with tempfile.TemporaryDirectory() as folder:
            file = self.download(Path(folder) / "rows.parquet", form=form, file_type="parquet", split=split)
            return Dataset.from_parquet(str(file), cache_dir=folder, keep_in_memory=True)

    def datasheet(self) -> str:
        """What it holds, who made it in aggregate, and how, as Markdown."""
        return self.connection.ask("GET", f"{self._page}/datasheet.md").text

    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = self.connection.get(f"{self._page}/manifest.json")
        return found

    @property
    def _page(self) -> str:
        return next(iter(self.downloads.values())).split("/download?")[0]

    def _address(self, form: str, file_type: str, split: str) -> str:
        if form and form not in self.downloads:
            raise ValueError(f"{self.kind} have no form {form!r}; they have {', '.join(self.downloads)}.")
        address = self.downloads[form or self.forms[0]] + f"&file_type={file_type}"
        return f"{address}&split={split}" if split else address
