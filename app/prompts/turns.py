"""Conversations as others write them, and the names others have for roles and splits."""

from typing import Any

Turn = dict[str, str]

ROLES = {
    "system": "system", "user": "user", "human": "user", "prompter": "user", "instruction": "user",
    "assistant": "assistant", "gpt": "assistant", "bot": "assistant", "model": "assistant", "chatbot": "assistant",
}  # fmt: skip
SPLITS = {"train": "train", "valid": "valid", "validation": "valid", "dev": "valid", "test": "test"}


class NotThisShape(ValueError):
    """A row is not what its shape says; the message is for the person whose file it is."""


def text_of(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise NotThisShape(f"`{name}` is not text")
    if not value.strip():
        raise NotThisShape(f"`{name}` is empty")
    return value.strip()


def turns_of(value: Any, name: str) -> list[Turn]:
    """A conversation: a text, a list of messages, or a list of [role, text]."""
    if isinstance(value, str):
        return [{"role": "user", "content": text_of(value, name)}]
    if not isinstance(value, list) or not value:
        raise NotThisShape(f"`{name}` is neither text nor a list of messages")
    return [_turn_of(each, name) for each in value]


def conversation_of(value: Any, name: str) -> list[Turn]:
    """A conversation whose last turn, an answer, is exactly as it was written. A model may have said nothing."""
    if isinstance(value, list) and value:
        *before, last = value
        role, content = _said_by(last, name)
        if role == "assistant" and isinstance(content, str):
            return [*(turns_of(before, name) if before else []), {"role": role, "content": content}]
    return turns_of(value, name)


def is_conversation(value: Any) -> bool:
    """Whether a list that stands in a text as JSON is a conversation, not a text that happens to be a list."""
    if not isinstance(value, list) or not value:
        return False
    try:
        roles = [_said_by(each, "")[0] for each in value]
    except NotThisShape:
        return False
    return bool(roles)


def _turn_of(value: Any, name: str) -> Turn:
    role, content = _said_by(value, name)
    return {"role": role, "content": text_of(content, name)}


def _said_by(value: Any, name: str) -> tuple[str, Any]:
    if isinstance(value, dict):
        role, content = value.get("role", value.get("from")), value.get("content", value.get("value"))
    elif isinstance(value, list) and len(value) == 2:
        role, content = value
    else:
        raise NotThisShape(f"a turn of `{name}` is neither a message nor a [role, text]")
    if str(role).lower() not in ROLES:
        raise NotThisShape(f"a turn of `{name}` is by {role!r}, who is neither system, user nor assistant")
    return ROLES[str(role).lower()], content
