"""What a run made, into the artefact store and the registry."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open

from app.core.storage import get_artefacts
from app.registry.models import ModelKind
from app.registry.service import TrainedModel
from app.runs import service
from workers.jobs.claimed import Claimed
from workers.jobs.patience import patiently

logger = logging.getLogger(__name__)


def store_model(claimed: Claimed, kind: ModelKind, metrics: Mapping[str, float]) -> None:
    """Store the one model that the run made."""
    store_models(claimed, kind, [(claimed.out, metrics)], result=metrics)


def store_models(
    claimed: Claimed, kind: ModelKind, made: Sequence[tuple[Path, Mapping[str, Any]]], *, result: Mapping[str, float]
) -> None:
    """Put each folder in the store, then say so in one transaction. Killed between the two, it is done again."""
    run = claimed.run
    first, *others = (
        _stored(claimed, kind, f"models/{run.id}" + (f"-{number}" if len(made) > 1 else ""), folder, figures)
        for number, (folder, figures) in enumerate(made, 1)
    )
    figures = service.finite(result)
    patiently(lambda session: service.finish(session, run.id, claim=claimed.claim, result=figures, model=first,
                                             others=others))  # fmt: skip
    logger.info("run %s made %d models", run.id, len(made))


def _stored(claimed: Claimed, kind: ModelKind, key: str, folder: Path, figures: Mapping[str, Any]) -> TrainedModel:
    get_artefacts().put_folder(key, folder)
    return TrainedModel(
        kind=kind, parent_id=claimed.subject.id, storage_key=key, parameters=count_parameters(folder),
        context=claimed.subject.context, metrics=service.finite(figures),
    )  # fmt: skip


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
