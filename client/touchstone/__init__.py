"""Touchstone's client: `from touchstone import Client`."""

from touchstone.client import Client, Project
from touchstone.connection import ApiError, Unreachable
from touchstone.imports import ImportFailed, PromptImport
from touchstone.records import Model, Prompt, Report, Step
from touchstone.runs import Run, RunFailed
from touchstone.snapshots import Snapshot
from touchstone.webhooks import Delivery, Webhook

__all__ = [
    "ApiError", "Client", "Delivery", "ImportFailed", "Model", "Project", "Prompt", "PromptImport", "Report", "Run",
    "RunFailed", "Snapshot", "Step", "Unreachable", "Webhook",
]  # fmt: skip
