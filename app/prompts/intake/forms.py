"""An import's settings as a form has them, and back."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from app.core.errors import Invalid
from app.core.storable import storable
from app.prompts.intake.settings import HubSource, ImportSettings, Target
from app.prompts.schemas import in_words

_CHECKS = ("up_to_last_user", "find_language")


def typed_of(settings: ImportSettings) -> dict[str, str]:
    """The form's fields as these settings fill them; a limit that is off is an empty field."""
    values = settings.model_dump(mode="json")
    columns = {f"column_{target}": column for target, column in values.pop("columns").items()}
    typed = {
        name: "" if value in (0, False) else "on" if value is True else str(value) for name, value in values.items()
    }
    return typed | columns | {"languages": ", ".join(settings.languages)}


def settings_typed(typed: Mapping[str, str]) -> ImportSettings:
    """What a form says; Invalid, with the fields, where it can't be."""
    values: dict[str, Any] = {name: storable(typed[name]).strip() or 0 for name in ImportSettings.model_fields
                              if name in typed and name not in ("use_case_rules", "languages", *_CHECKS)}  # fmt: skip
    values["columns"] = {target: typed.get(f"column_{target}", "") for target in Target}
    values["use_case_rules"] = storable(typed.get("use_case_rules", ""))
    values["languages"] = [part.strip() for part in typed.get("languages", "").split(",") if part.strip()]
    values |= {name: bool(typed.get(name)) for name in _CHECKS}
    return checked(values)


def checked(values: Any) -> ImportSettings:
    try:
        return ImportSettings.model_validate(values)
    except ValidationError as error:
        fields = {str(each["loc"][0]) if each["loc"] else "settings": each["msg"].removeprefix("Value error, ")
                  for each in error.errors(include_url=False, include_context=False)}  # fmt: skip
        raise Invalid("These settings can't be.", mend="Nothing was changed.", fields=fields) from error


def hub_source(named: Mapping[str, Any]) -> HubSource:
    try:
        return HubSource.model_validate(named)
    except ValidationError as error:
        fields = {str(each["loc"][0]): each["msg"] for each in error.errors(include_url=False)}
        raise Invalid("The Hub has no such address.", mend="A dataset is named `owner/name`.", fields=fields) from error


def settings_of_json(text: str) -> ImportSettings | None:
    """Settings that a script sends beside its file; none: they are guessed."""
    if not text.strip():
        return None
    try:
        return ImportSettings.model_validate_json(text)
    except ValidationError as error:
        raise Invalid(f"The settings can't be: {in_words(error)}.", fields={"settings": in_words(error)}) from error
    except json.JSONDecodeError as error:
        raise Invalid(f"The settings are not JSON: {error}.") from error
