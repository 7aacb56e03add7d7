"""Which labels a snapshot takes."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from app.accounts.models import Group
from app.core.errors import Invalid
from app.prompts.models import Split, UseCase

Each = TypeVar("Each", Split, UseCase, Group, int, str, uuid.UUID)


class SnapshotFilter(BaseModel):
    """An empty list takes all. Equal filters are equal as stored, whatever order they were written in."""

    model_config = ConfigDict(extra="forbid")

    purpose: Literal["training", "evaluation"] = Field(
        "training", description="Training leaves out what held-out labelers made, and evaluation and screening batches."
    )
    splits: list[Split] = Field([], description="Splits of the prompts.")
    use_cases: list[UseCase] = Field([], description="Use cases of the prompts.")
    rounds: list[int] = Field([], description="Rounds in which the labels were made.")
    ids: list[uuid.UUID] = Field([], description="These prompts only.")
    include_simulated: bool = Field(True, description="Whether simulated labelers count.")
    batches: list[uuid.UUID] = Field([], description="Labels of these batches only.")
    groups: list[Group] = Field([], description="Groups in which the labelers were when they submitted.")
    guidelines: list[int] = Field([], description="Versions of the guidelines that the labels were made under.")
    rating_schemas: list[int] = Field([], description="Versions of the rating schema that rankings were made under.")
    models: list[str] = Field([], description="Rankings with a completion by one of these models, by name.")
    min_agreement: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Rankings of items on which labelers agree on at least this share of the pairs that neither ties. "
        "An item that one labeler ranked has no agreement; one that a lead decided is taken.",
    )
    since: AwareDatetime | None = Field(None, description="Labels made from this moment on.")
    until: AwareDatetime | None = Field(None, description="Labels made before this moment.")
    use_adjudications: bool = Field(
        True, description="Where a lead decided a disagreement, that ranking stands in for the labelers' of the item."
    )

    @field_validator(
        "splits", "use_cases", "rounds", "ids", "batches", "groups", "guidelines", "rating_schemas", "models"
    )
    @classmethod
    def _in_one_order(cls, values: list[Each]) -> list[Each]:
        return sorted(set(values), key=str)

    def stored(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_defaults=True)


def read_filter(values: Mapping[str, Any]) -> SnapshotFilter:
    try:
        return SnapshotFilter.model_validate(dict(values))
    except ValidationError as error:
        fields = {".".join(str(part) for part in e["loc"]): e["msg"] for e in error.errors(include_url=False)}
        raise Invalid("The filter can't be read.", fields=fields) from error


def in_words(wanted: SnapshotFilter) -> str:
    """The filter as a person would say it."""
    parts = [f"for {wanted.purpose}"]
    listed: dict[str, Sequence[object]] = {
        "split": wanted.splits,
        "use case": wanted.use_cases,
        "round": wanted.rounds,
        "batch": [str(batch)[-8:] for batch in wanted.batches],
        "labelers' group": wanted.groups,
        "guidelines": wanted.guidelines,
        "rating schema": wanted.rating_schemas,
        "with completions by": wanted.models,
    }
    parts += [f"{name} {', '.join(str(value) for value in values)}" for name, values in listed.items() if values]
    if wanted.ids:
        parts.append(f"{len(wanted.ids)} chosen prompts")
    if not wanted.include_simulated:
        parts.append("no simulated labelers")
    if wanted.min_agreement is not None:
        parts.append(f"labelers agree on {100 * wanted.min_agreement:g} % or more of the pairs")
    if wanted.since:
        parts.append(f"from {_moment(wanted.since)}")
    if wanted.until:
        parts.append(f"until {_moment(wanted.until)}")
    if not wanted.use_adjudications:
        parts.append("as labelers ranked, also where a lead decided")
    return "; ".join(parts)


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
