"""What `make audit` says of the packages: what is known, or plainly that nobody could be asked."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[1] / ".ci" / "audit.py"
HOLE = {"name": "oldlib", "version": "1.0", "vulns": [{"id": "CVE-2025-1", "fix_versions": ["1.1"]}]}
SOUND = {"name": "newlib", "version": "2.0", "vulns": []}
UNKNOWN = {"name": "ours", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("packages", "code", "words"),
    [([HOLE, SOUND], 1, "oldlib 1.0: CVE-2025-1, mended in 1.1"),
     ([SOUND], 0, "1 packages were compared; 0 advisories"),
     ([SOUND, UNKNOWN], 0, "Not compared, for the service does not know them: ours"), ([UNKNOWN], 2, "Nothing was")],
)  # fmt: skip
def test_each_end_is_told(
    packages: list[dict[str, Any]], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("audit", FILE)
    assert spec is not None
    assert spec.loader is not None
    audit = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(audit)
    assert audit.told(packages) == code
    said = capsys.readouterr()
    assert words in said.out + said.err
