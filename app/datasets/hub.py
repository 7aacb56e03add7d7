"""A snapshot as a dataset of the Hugging Face Hub: a file for each split, and its datasheet as the card."""

import re
import tempfile
from pathlib import Path

from app.core.config import get_settings
from app.core.errors import DomainError, Invalid
from app.datasets.datasheet_text import as_markdown
from app.datasets.exports import ExportForm, FileType
from app.datasets.files import save_export
from app.datasets.models import Snapshot

SPLITS = {"train": "train", "valid": "validation", "test": "test"}  # ours, and what the Hub calls them
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")  # as the Hub names those that it knows


class NotPushed(DomainError):
    title = "The Hub did not take it"


def check_repository(name: str) -> str:
    if not get_settings().use_hub:
        raise Invalid("The Hub is switched off here.", mend="TOUCHSTONE_USE_HUB switches it on.")
    if not _REPOSITORY.fullmatch(name):
        raise Invalid(f"{name!r} is no dataset of the Hub.", mend="Write OWNER/NAME.")
    return name


def write_folder(snapshot: Snapshot, folder: Path, form: ExportForm) -> list[Path]:
    """What the Hub gets, and what `datasets.load_dataset(folder)` reads as well. Splits without rows have no file."""
    (folder / "data").mkdir(parents=True)
    written = []
    for split, name in SPLITS.items():
        if snapshot.counts.get(split):
            file = folder / "data" / f"{name}.parquet"
            save_export(snapshot, file, form=form, file_type=FileType.parquet, split=split)
            written.append(file)
    (folder / "README.md").write_text(_card(snapshot, [file.stem for file in written]))
    return written


def _card(snapshot: Snapshot, splits: list[str]) -> str:
    files = [f"  - split: {name}\n    path: data/{name}.parquet" for name in splits]
    lines = [*_licence(snapshot), "tags:", "- touchstone", f"- {snapshot.kind.value}", "configs:",
             "- config_name: default", "  data_files:", *files]  # fmt: skip
    return "---\n" + "\n".join(lines) + "\n---\n\n" + as_markdown(snapshot)


def _licence(snapshot: Snapshot) -> list[str]:
    said = str(snapshot.datasheet.get("licence", "")).strip()
    if not said:
        return []
    if _LICENCE.fullmatch(said.lower()):
        return [f"license: {said.lower()}"]
    return ["license: other", f"license_name: {re.sub(r'[^a-z0-9.]+', '-', said.lower()).strip('-')}"]


def push(snapshot: Snapshot, repository: str, *, form: ExportForm, is_public: bool = False) -> str:
    """Send it as one commit, private unless it is said otherwise. Returns the commit's address. The token is what
    `hf auth login` keeps, or HF_TOKEN."""
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise NotPushed("The package huggingface_hub is not here.", mend="pip install 'touchstone[train]'") from error
    with tempfile.TemporaryDirectory(prefix="touchstone-") as place:
        folder = Path(place) / "dataset"
        write_folder(snapshot, folder, form)
        said = f"{snapshot.kind.value}@{snapshot.sha256[:12]}"
        try:
            hub = HfApi()
            hub.create_repo(repository, repo_type="dataset", private=not is_public, exist_ok=True)
            commit = hub.upload_folder(
                repo_id=repository, repo_type="dataset", folder_path=str(folder), commit_message=said,
                delete_patterns="data/*",
            )  # fmt: skip
        except Exception as error:  # the library passes on whatever its HTTP client of the day raises
            said = (str(error) or type(error).__name__).splitlines()[0]
            raise NotPushed(f"{repository} could not be sent: {said}.",
                            mend="Look at the token (`hf auth whoami`) and the network.") from error  # fmt: skip
    return str(commit.commit_url)
