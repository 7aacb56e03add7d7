"""How the rows of one import become prompts, and what is done with them: its mapping and its steps of hygiene."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from app.prompts.intake.rules import parse_rules
from app.prompts.schemas import MAX_CHARACTERS


class Target(StrEnum):
    """What a column may be. The first five are the prompt itself."""

    prompt = "prompt"
    context = "context"
    system = "system"
    messages = "messages"
    examples = "examples"
    organisation = "organisation"
    user = "user"
    use_case = "use_case"
    kind = "kind"
    language = "language"
    in_split = "split"
    source = "source"
    flags = "flags"


class CapBy(StrEnum):
    organisation = "organisation"
    user = "user"


class PersonalData(StrEnum):
    off = "off"
    mask = "mask"
    review = "review"


Column = Annotated[str, StringConstraints(max_length=200)]


class ImportSettings(BaseModel):
    """All that can be chosen about an import. A limit of 0 is no limit."""

    model_config = ConfigDict(extra="forbid")

    columns: dict[Target, Column] = Field({}, description="Which column of the file is what.")
    up_to_last_user: bool = Field(False, description="Leave off the answers with which conversations end.")
    least_characters: int = Field(0, ge=0, le=MAX_CHARACTERS, description="Hold what is shorter.")
    most_characters: int = Field(0, ge=0, le=MAX_CHARACTERS, description="Hold what is longer.")
    find_language: bool = Field(False, description="Say of prompts whose row names no language which it is in.")
    languages: list[Annotated[str, StringConstraints(to_lower=True, pattern=r"^[a-z]{2,3}$")]] = Field(
        [], max_length=100, description="Hold what is in none of these; empty: keep all."
    )
    use_case_rules: str = Field("", max_length=20_000, description="`use case: words, words`, a line each.")
    personal_data: PersonalData = Field(PersonalData.off, description="Mask it, or hold the prompt for review.")
    prefix_characters: int = Field(0, ge=0, le=MAX_CHARACTERS, description="Hold what begins alike for so long.")
    near_alike: float = Field(0, ge=0, le=1, description="Hold what shares so much of its words with an earlier one.")
    most_of_one: int = Field(0, ge=0, le=1_000_000, description="Hold what is more of one source than this.")
    cap_by: CapBy = Field(CapBy.organisation, description="What counts as one source.")

    @field_validator("columns")
    @classmethod
    def _only_named_ones(cls, value: dict[Target, str]) -> dict[Target, str]:
        return {target: column for target, column in value.items() if column}

    @field_validator("use_case_rules")
    @classmethod
    def _can_be_read(cls, value: str) -> str:
        parse_rules(value)
        return value

    @field_validator("near_alike")
    @classmethod
    def _can_be_found(cls, value: float) -> float:
        if 0 < value < LEAST_ALIKE:
            raise ValueError(f"below {LEAST_ALIKE} most pairs would not be found; choose more, or 0 for off")
        return value

    @model_validator(mode="after")
    def _limits_leave_room(self) -> Self:
        if self.most_characters and self.most_characters < self.least_characters:
            raise ValueError("most_characters is less than least_characters: no prompt is left")
        return self


class HubSource(BaseModel):
    """A dataset of the Hugging Face Hub, as its `load_dataset` names it."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    # A name as the Hub has them, not a path on the worker's disk.
    dataset: str = Field(max_length=200, pattern=r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")
    config: str = Field("", max_length=200)
    split: str = Field("train", min_length=1, max_length=200, description="Such as train, or test[:1000].")
    revision: str = Field("", max_length=200, description="A branch, tag or commit; empty: the newest.")
    rows: int = Field(0, ge=0, description="So many at most; 0: all.")


LEAST_ALIKE = 0.7
# The paper's, as far as it gives them (section 3.2 and appendix A.2): 200 of one organisation, and prompts with a long
# common prefix once; how long it does not say. Lengths it limits in tokens, which depend on the model, when it trains.
PAPER = {"prefix_characters": 200, "most_of_one": 200}
