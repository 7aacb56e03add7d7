"""A question to one or two models, as it is typed and as it is asked."""

import secrets
import uuid
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, field_validator

from app.core.errors import Invalid
from app.core.storable import storable
from app.prompts.schemas import MAX_CHARACTERS, Message

MOST_TURNS = 40
LARGEST_SEED = 2**31 - 1
SETTINGS = ("temperature", "top_p", "max_new_tokens", "seed")
CHOICES = ("left", "right", "judge")
Choice = Annotated[uuid.UUID | None, BeforeValidator(lambda value: value or None)]


def any_seed() -> int:
    return secrets.randbelow(LARGEST_SEED)


class Question(BaseModel):
    left: Choice = None
    right: Choice = None
    judge: Choice = Field(None, description="A reward model that scores the answers.")
    messages: list[Message] = Field(min_length=1, max_length=MOST_TURNS)
    temperature: float = Field(1.0, ge=0, le=10, allow_inf_nan=False)  # 0: the most likely token
    top_p: float = Field(1.0, gt=0, le=1)
    max_new_tokens: int = Field(200, ge=1, le=4096)
    seed: int = Field(default_factory=any_seed, ge=0, le=LARGEST_SEED)

    @property
    def writers(self) -> list[uuid.UUID]:
        return [each for each in (self.left, self.right) if each is not None]

    @field_validator("messages")
    @classmethod
    def _can_be_answered(cls, value: list[Message]) -> list[Message]:
        if value[-1].role != "user":
            raise ValueError("the last turn must be the person's, for the models to answer")
        if any(turn.role == "system" for turn in value[1:]):
            raise ValueError("a setting can only be the first turn")
        if sum(len(turn.content) for turn in value) > MAX_CHARACTERS:
            raise ValueError(f"the turns have more than {MAX_CHARACTERS:,} characters together")
        return value


DEFAULTS = {
    "temperature": "1", "top_p": "1", "max_new_tokens": "200", "seed": "", "left": "", "right": "", "judge": "",
}  # fmt: skip
EMPTY_TURN = {"role": "user", "content": ""}
_NAMED = {
    "left": "Left", "right": "Right", "judge": "Reward model", "temperature": "Temperature", "top_p": "Top-p",
    "max_new_tokens": "New tokens", "seed": "Seed", "messages": "Turns",
}  # fmt: skip


def typed_in(form: Mapping[str, Any]) -> dict[str, Any]:
    """The form as it was typed, for a page that shows it again; turns are its fields role_1, text_1, role_2, ..."""
    typed: dict[str, Any] = {name: str(form.get(name, "")).strip() for name in (*CHOICES, *SETTINGS)}
    typed["turns"] = []
    for number in range(1, MOST_TURNS + 1):
        if f"text_{number}" not in form:
            break
        role = str(form.get(f"role_{number}", "user"))
        typed["turns"].append({"role": role, "content": storable(str(form[f"text_{number}"]))})
    return typed


def check_question(typed: Mapping[str, Any]) -> Question:
    """The question that was typed. Settings left empty take their defaults, the seed a new one."""
    sent = {name: typed[name] for name in (*CHOICES, *SETTINGS) if typed[name] != ""}
    try:
        question = Question.model_validate({**sent, "messages": typed["turns"]})
    except ValidationError as error:
        raise Invalid("The question was not asked.", fields=_in_words(error)) from error
    if not question.writers:
        raise Invalid("The question was not asked.", fields={"Left": "Choose a model that is to answer."})
    return question


def _in_words(error: ValidationError) -> dict[str, str]:
    wrong = {}
    for part in error.errors():
        name = _NAMED.get(str(part["loc"][0]), str(part["loc"][0]))
        if len(part["loc"]) > 1 and isinstance(part["loc"][1], int):
            name = f"Turn {part['loc'][1] + 1}"
        is_empty = part["type"] == "string_too_short"
        wrong[name] = "Write something." if is_empty else part["msg"].removeprefix("Value error, ")
    return wrong
