"""Which columns of a file are what, guessed by their names, and a row of it as the prompts that it makes."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from app.prompts.few_shot import FEWEST_EXAMPLES, few_shot_texts
from app.prompts.intake.rules import use_case_named
from app.prompts.intake.settings import ImportSettings, Target
from app.prompts.readers import RawRow, parse_json
from app.prompts.turns import SPLITS, NotThisShape, Turn, is_conversation, text_of, turns_of

_NAMES: dict[Target, tuple[str, ...]] = {
    Target.messages: ("messages", "conversation", "conversations", "chat", "dialog", "dialogue", "turns"),
    Target.examples: ("examples", "pairs", "shots", "few_shot", "instances"),
    Target.prompt: ("prompt", "instruction", "question", "query", "text", "goal", "input"),
    Target.context: ("context", "input"),
    Target.system: ("system", "system_prompt", "system_message"),
    Target.organisation: ("organisation", "source_organisation", "organization", "source_organization", "group",
                          "organization_id", "organisation_id", "company", "customer"),
    Target.user: ("user", "source_user", "user_id", "author", "author_id"),
    Target.use_case: ("use_case", "usecase"),
    Target.kind: ("kind",),
    Target.language: ("language", "lang"),
    Target.in_split: ("split",),
    Target.source: ("source",),
    Target.flags: ("flags",),
}  # fmt: skip
_QUERIES, _ANSWERS = ("query", "input", "question", "prompt"), ("answer", "output", "completion", "response", "target")
_ABOUT = tuple(target for target in Target if target not in
               (Target.prompt, Target.context, Target.system, Target.messages, Target.examples))  # fmt: skip


def columns_of(rows: Iterable[RawRow]) -> list[str]:
    """The names that the rows' fields have, in their order."""
    return list(dict.fromkeys(str(n) for row in rows if isinstance(row.values, dict) for n in row.values if n != ""))


def guess(rows: Sequence[RawRow]) -> ImportSettings:
    """What the columns of these first rows seem to be, and whether their conversations end with an answer."""
    columns, taken, found = columns_of(rows), set[str](), dict[Target, str]()
    by_name = {name.strip().lower(): name for name in reversed(columns)}
    for target, names in _NAMES.items():
        name = next((by_name[name] for name in names if name in by_name and by_name[name] not in taken), None)
        if name is not None:
            found[target] = name
            taken.add(name)
    settings = ImportSettings(columns=found)
    settings.up_to_last_user = any(_ends_with_an_answer(row.values, settings) for row in rows)
    return settings


def _ends_with_an_answer(values: Any, settings: ImportSettings) -> bool:
    column = settings.columns.get(Target.messages)
    if not isinstance(values, dict) or column is None:
        return False
    try:
        return _turns(_parsed(values.get(column)), column)[-1]["role"] == "assistant"
    except ValueError:
        return False


def prompts_in(raw: RawRow, settings: ImportSettings) -> list[RawRow]:
    """The prompts that a row makes, as our own import reads them; or why it makes none."""
    if raw.problem or not isinstance(raw.values, dict):
        return [raw]
    try:
        conversations, is_few_shot = _conversations(raw.values, settings)
        about = {target.value: value for target in _ABOUT if (value := _said(raw.values, target, settings)) is not None}
    except ValueError as error:
        return [RawRow(raw.number, raw.values, str(error))]
    if is_few_shot:
        about.setdefault("kind", "few_shot")
    return [RawRow(raw.number, {**about, "messages": turns}) for turns in conversations]


def _conversations(values: dict[str, Any], settings: ImportSettings) -> tuple[list[list[Turn]], bool]:
    columns = settings.columns
    head = _turn("system", values, columns.get(Target.system))
    examples = _parsed(_value(values, Target.examples, columns))
    if examples:
        pairs = [_pair(each) for each in _listed(examples, columns[Target.examples])]
        instruction = _text(values, columns)
        if len(pairs) >= FEWEST_EXAMPLES:
            return [[*head, _user(text)] for text in few_shot_texts(instruction, pairs)], True
        return [[*head, _user("\n\n".join(filter(None, [instruction, *(query for query, _ in pairs)])))]], False
    for target in (Target.messages, Target.prompt):
        name = columns.get(target, "")
        given = _value(values, target, columns)
        parsed = _parsed(given)
        if target is Target.messages or (given is not parsed and is_conversation(parsed)):
            given = parsed  # a prompt that begins like a list, and is no conversation, is a text
        if isinstance(given, list) or (target is Target.messages and given not in (None, "")):
            return [[*head, *_until_the_answer(_turns(given, name), name, settings)]], False
    return [[*head, _user(_needed(_text(values, columns), columns))]], False


def _turns(given: Any, name: str) -> list[Turn]:
    """A conversation. Of a list of texts only the first: the others answer it, or follow answers that are not there."""
    if isinstance(given, list) and given and all(isinstance(turn, str) for turn in given):
        return [_user(text_of(given[0], name))]
    return turns_of(given, name)


def _value(values: dict[str, Any], target: Target, columns: dict[Target, str]) -> Any:
    """What a row says in the column that is this. A column may have an empty name: the row numbers of a table."""
    return values.get(columns[target]) if target in columns else None


def _until_the_answer(turns: list[Turn], name: str, settings: ImportSettings) -> list[Turn]:
    while settings.up_to_last_user and turns and turns[-1]["role"] == "assistant":
        turns.pop()
    if not turns:
        raise NotThisShape(f"`{name}` has no turn of the user's")
    return turns


def _needed(text: str, columns: dict[Target, str]) -> str:
    if not text:
        where = " nor ".join(
            f"`{columns[t]}`" for t in (Target.prompt, Target.messages, Target.examples) if t in columns
        )
        raise NotThisShape(f"has no text in {where}" if where else "has no column that is its prompt")
    return text


def _text(values: dict[str, Any], columns: dict[Target, str]) -> str:
    """The prompt, its context below it."""
    parts = (values.get(columns[target]) for target in (Target.prompt, Target.context) if target in columns)
    return "\n\n".join(text_of(part, "prompt") for part in parts if part not in (None, "") and str(part).strip())


def _turn(role: str, values: dict[str, Any], column: str | None) -> list[Turn]:
    value = values.get(column) if column else None
    return [{"role": role, "content": text_of(value, column or "")}] if value and str(value).strip() else []


def _user(text: str) -> Turn:
    return {"role": "user", "content": text}


def _listed(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise NotThisShape(f"`{name}` is no list of examples")
    return value


def _pair(value: Any) -> tuple[str, str]:
    if isinstance(value, list) and len(value) == 2:
        return text_of(value[0], "a query"), text_of(value[1], "an answer")
    if isinstance(value, dict):
        query = next((value[name] for name in _QUERIES if value.get(name) is not None), "")
        answer = next((value[name] for name in _ANSWERS if value.get(name)), None)
        if isinstance(query, str) and answer is not None:
            return query.strip(), text_of(answer, "an answer")
    raise NotThisShape("an example is neither a query with its answer nor a [query, answer]")


def _said(values: dict[str, Any], target: Target, settings: ImportSettings) -> Any:
    """What a row says of where its prompt is from, as our own import reads it; none where it says nothing."""
    value = _value(values, target, settings.columns)
    if target is Target.flags:
        return value or None
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # what pandas makes of whole numbers in a column with gaps
    if not isinstance(value, str | int):
        raise NotThisShape(f"`{settings.columns[target]}` is neither text nor a number")
    text = str(value).strip()
    if target is Target.in_split:
        return SPLITS.get(text.lower(), text)
    return use_case_named(text) if target is Target.use_case else text


def _parsed(value: Any) -> Any:
    """A list that stands in a table's cell as JSON."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        try:
            return parse_json(value)
        except (ValueError, RecursionError):
            return value
    return value
