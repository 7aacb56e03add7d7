"""An option of the command line for every part of a snapshot's filter, made from the filter itself."""

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo

from app.datasets.schemas import SnapshotFilter, read_filter

_FLAGS = {"include_simulated": "simulated", "use_adjudications": "adjudications"}
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def with_filter(command: Callable[..., None]) -> Callable[..., None]:
    """`command`, whose `wanted` is the filter that the options say."""
    own = inspect.signature(command, eval_str=True)
    kept = [each for each in own.parameters.values() if each.name != "wanted"]
    options = [_option(name, field) for name, field in SnapshotFilter.model_fields.items()]

    @functools.wraps(command)
    def with_options(**values: Any) -> None:
        typed = {name: values.pop(name) for name in SnapshotFilter.model_fields}
        command(**values, wanted=read_filter(_plain(typed)))

    with_options.__signature__ = own.replace(parameters=[*kept, *options])  # type: ignore[attr-defined]
    with_options.__annotations__ = {each.name: each.annotation for each in [*kept, *options]}
    return with_options


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    """Texts as they are typed: what they can be, the filter says, and refuses by name."""
    kind: Any = str | None
    default = field.get_default()
    if isinstance(default, bool):
        kind = bool
    elif isinstance(default, list):
        kind = list[str]
    flag = _FLAGS.get(name, name).replace("_", "-")
    declared = f"--{flag}/--no-{flag}" if kind is bool else f"--{flag}"
    option = typer.Option(declared, help=f"{field.description}{_more(kind, field)}", rich_help_panel="What is frozen")
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _more(kind: Any, field: FieldInfo) -> str:
    if kind == list[str]:
        return " Can be given several times."
    return " Such as 2026-01-31." if "datetime" in str(field.annotation).lower() else ""


def _plain(typed: Mapping[str, Any]) -> dict[str, Any]:
    """A day begins at midnight, UTC."""
    return {name: f"{value}T00:00:00Z" if isinstance(value, str) and _DAY.fullmatch(value) else value
            for name, value in typed.items()}  # fmt: skip
