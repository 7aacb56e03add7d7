"""The long proofs: run by `make prove`, each printing the table that the README quotes."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.prove)
            item.add_marker(pytest.mark.train)
