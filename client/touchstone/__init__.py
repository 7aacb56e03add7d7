"""Touchstone's client: `from touchstone import Client`."""

from touchstone.client import Client, Project
from touchstone.connection import ApiError, Unreachable
from touchstone.records import Model, Prompt, Report, Step
from touchstone.runs import Run, RunFailed
from touchstone.snapshots import Snapshot

__all__ = [
    "ApiError", "Client", "Model", "Project", "Prompt", "Report", "Run", "RunFailed", "Snapshot", "Step", "Unreachable",
]  # fmt: skip
