"""Whether a run's weights fit what this worker has free, asked before it starts."""

import torch

from app.core.memory import memory
from app.runs.needs import advice, gib, needs_of
from workers.jobs.claimed import Claimed
from workers.training.loop import CannotTrain


def bytes_free() -> int | None:
    """Free memory of the device that trains; none where the system does not say."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    found = memory()
    return found.free if found else None


def refuse_too_large(claimed: Claimed) -> None:
    """The line gave it to a device that is large enough; what others hold of it now shows only here."""
    parameters = {part: model.parameters or 0 for part, model in claimed.models.items()}
    needs = needs_of(claimed.run.kind, claimed.config, parameters)
    needed = needs.gpu if torch.cuda.is_available() else needs.cpu
    free = bytes_free()
    if free is not None and needed > free:
        raise CannotTrain(
            f"{claimed.subject.name} needs at least {gib(needed)} for this run, and this worker has "
            f"{gib(free)} free.{advice(claimed.run.config)}"
        )
