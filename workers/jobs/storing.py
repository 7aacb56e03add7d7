"""What a run made, into the artefact store and the registry."""

import logging
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open

from app.core.storage import get_artefacts
from app.registry.models import ModelKind
from app.registry.service import TrainedModel
from app.runs import service
from workers.jobs.claimed import Claimed
from workers.jobs.patience import patiently

logger = logging.getLogger(__name__)


def store_model(claimed: Claimed, kind: ModelKind, metrics: Mapping[str, float]) -> None:
    """Put the folder in the store, then say so in one transaction. Killed between the two, it is done again."""
    run = claimed.run
    key = f"models/{run.id}"
    get_artefacts().put_folder(key, claimed.out)
    figures = service.finite(metrics)
    trained = TrainedModel(
        kind=kind, parent_id=claimed.subject.id, storage_key=key, parameters=count_parameters(claimed.out),
        context=claimed.subject.context, metrics=figures,
    )  # fmt: skip
    patiently(lambda session: service.finish(session, run.id, claim=claimed.claim, result=figures, model=trained))
    logger.info("run %s made %s", run.id, key)


def count_parameters(folder: Path) -> int:
    """Numbers in the folder's safetensors files."""
    total = 0
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118  not a mapping
                size = 1
                for length in tensors.get_slice(name).get_shape():
                    size *= length
                total += size
    return total
