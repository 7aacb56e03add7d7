"""The steps of hygiene that look at one prompt at a time."""

from collections.abc import Callable

from app.prompts.intake.alike import fingerprint, plain_text
from app.prompts.intake.languages import language_of
from app.prompts.intake.personal import find_personal_data, masked
from app.prompts.intake.rules import parse_rules, use_case_by
from app.prompts.intake.settings import ImportSettings, PersonalData
from app.prompts.models import HeldFor, PromptKind
from app.prompts.schemas import Looked, PromptRow


def look_by(settings: ImportSettings) -> Callable[[PromptRow], Looked]:
    """What an import with these settings does with each row."""
    rules = parse_rules(settings.use_case_rules)

    def look(row: PromptRow) -> Looked:
        text = "\n".join(message.content for message in row.messages if message.role != "system")
        changed = []
        if "use_case" not in row.model_fields_set and (use_case := use_case_by(rules, text)):
            row.use_case = use_case
            changed.append("use_case")
        language = row.language if "language" in row.model_fields_set else None
        if language is None and (settings.find_language or settings.languages) and (language := language_of(text)):
            row.language = language
            changed.append("language")
        if settings.personal_data is PersonalData.mask and _mask(row):
            changed.append("masked")
        held_for, note = _held(row, text, language, settings)
        print_ = (
            fingerprint(plain_text(row.turns())) if settings.near_alike and row.kind != PromptKind.few_shot else None
        )
        return Looked(row, held_for, note, tuple(changed), print_)

    return look


def _mask(row: PromptRow) -> bool:
    before = [message.content for message in row.messages]
    for message in row.messages:
        message.content = masked(message.content)
    return before != [message.content for message in row.messages]


def _held(row: PromptRow, text: str, language: str | None, settings: ImportSettings) -> tuple[HeldFor | None, str]:
    if len(text) < settings.least_characters:
        return HeldFor.length, f"{len(text):,} characters, fewer than {settings.least_characters:,}"
    if settings.most_characters and len(text) > settings.most_characters:
        return HeldFor.length, f"{len(text):,} characters, more than {settings.most_characters:,}"
    if settings.languages and language and language.lower().split("-")[0] not in settings.languages:
        return HeldFor.language, f"in “{language}”"
    if settings.personal_data is PersonalData.review:
        kinds = sorted({found.kind for message in row.messages for found in find_personal_data(message.content)})
        if kinds:
            return HeldFor.personal_data, ", ".join(kinds)
    return None, ""
