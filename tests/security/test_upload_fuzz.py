"""Every parser of what people send: whatever it is, it is read, or refused by the parser's own error."""

import contextlib
import gzip
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import FormData

from app.accounts import audit
from app.backups.manifest import manifest_of
from app.benchmarks.catalogue import WITH_FILES
from app.benchmarks.files import rows_of
from app.core.errors import Invalid
from app.datasets.existing.cells import label_rows
from app.datasets.existing.shapes import Shape, read_labels
from app.datasets.freeze_form import FreezeForm
from app.datasets.schemas import read_filter
from app.labeling import forms as labeling_forms
from app.labeling.rating_schemas import as_seen, checked_fields, press, typed_rows
from app.labeling.schemas import Submission
from app.people.activity import span_of
from app.playground import questions
from app.prompts.intake import forms, mapping
from app.prompts.judging import read_row
from app.prompts.readers import ImportFormat, guess_format, guess_pasted, iterate_rows
from app.prompts.streams import unpacked
from app.prompts.texts import read_documents
from app.runs import forms as run_forms
from app.runs.configs import RunKind

Parser = Callable[[Any], object]
# The words that some parser looks for, so that most of what is made gets past its first look.
_NAMES = """prompt messages chosen rejected completion completions responses ranks rankings scores score models info
summaries fields data annotations metadata conversations role content from value text output model user instruction
input question choices answer label rank rating choice replies review deleted result type ranker status values response
query passage sentence premise hypothesis context answers rows row article highlights columns language use_case split
languages cap_by least most words key low high help short likert flags seed learning_rate epochs batch_size"""
NAMES = _NAMES.split()
WORDS = st.sampled_from(
    ["user", "assistant", "system", "Human: a\n\nAssistant: b", "A", "1", "", "train", "prompt", "0"]
)
TEXTS = WORDS | st.text(max_size=12)
NUMBERS = st.integers() | st.floats() | st.sampled_from([0, 1, 2, -1, 10**400])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | TEXTS, inner, max_size=5),
    max_leaves=12,
)
ROWS = st.lists(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6) | VALUES, min_size=1, max_size=3)
TYPED = st.dictionaries(st.sampled_from(NAMES) | TEXTS, TEXTS | NUMBERS.map(str), max_size=8)


def lines(rows: list[Any]) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode(errors="replace")


def table(rows: list[Any]) -> bytes:
    """What a spreadsheet would make of them, more or less."""
    told = [row for row in rows if isinstance(row, dict)] or [{"prompt": "a"}]
    cells = [
        [json.dumps(value) if isinstance(value, list | dict) else str(value) for value in row.values()] for row in told
    ]
    return "\n".join(",".join(f'"{cell}"' for cell in row) for row in [list(told[0]), *cells]).encode(errors="replace")


FILES = st.binary(max_size=60) | ROWS.map(lines) | ROWS.map(table) | ROWS.map(lambda rows: json.dumps(rows).encode())
PACKED = FILES | FILES.map(gzip.compress) | FILES.map(lambda each: gzip.compress(each)[:-3])
TEXT_FORMATS = [each for each in ImportFormat if each is not ImportFormat.parquet]  # that one has a process of its own


def every_format(read: Callable[[bytes, ImportFormat], object]) -> Parser:
    def _read(content: bytes) -> None:
        for form in TEXT_FORMATS:
            with contextlib.suppress(Invalid):
                read(content, form)

    return _read


def read_prompts(content: bytes, form: ImportFormat) -> None:
    guess_format("a.csv.gz", content[:4]), guess_pasted(content.decode(errors="replace"))
    rows = list(iterate_rows(unpacked(io.BytesIO(content), 2**16), form))
    chosen = mapping.guess(rows)
    for raw in rows:
        for one in mapping.prompts_in(raw, chosen):
            read_row(one)


def read_all_labels(content: bytes, form: ImportFormat) -> None:
    for shape in (None, *Shape):
        list(read_labels(label_rows(content, form), shape))


def read_benchmarks(content: bytes) -> None:
    for benchmark in WITH_FILES:
        for name in ("a.jsonl", "a.csv"):
            with contextlib.suppress(Invalid):
                rows_of(content, name, benchmark)


def read_rating_schema(typed: dict[str, str]) -> None:
    names = ("likert_key", "likert_label", "likert_words", "likert_least", "flags_key", "flags_use_cases_0", "notes")
    rows = typed_rows(FormData([(name, value) for name, value in zip(names * 2, typed.values(), strict=False)]))
    as_seen(rows), press(rows, "likert-down-9"), checked_fields(rows, {})


def read_run(typed: dict[str, str]) -> None:
    for kind in RunKind:
        with contextlib.suppress(Invalid):
            run_forms.parse(kind, typed)


def read_label(typed: dict[str, str]) -> None:
    told = FormData(
        [
            (name, v)
            for name, v in zip(("rank_A", "likert_B_x", "flags_C", "text", "note_A"), typed.values(), strict=False)
        ]
    )
    labeling_forms.checked(Submission, labeling_forms.typed_in(told))


def read_days(typed: dict[str, str]) -> None:
    first, last = [*typed.values(), "", ""][:2]
    with contextlib.suppress(Invalid):
        span_of(first, last).bounds  # noqa: B018
    audit._conditions(audit.AuditFilter(subject=first, first=first, last=last))


def read_freeze_form(typed: dict[str, str]) -> None:
    names = ("rounds", "since", "last_day", "guidelines", "min_agreement", "purpose")
    read_filter(FreezeForm(**dict(zip(names, typed.values(), strict=False))).wanted())


def read_question(typed: dict[str, str]) -> None:
    names = ("text_1", "role_1", "left", "temperature", "max_new_tokens", "seed", "text_2")
    questions.check_question(questions.typed_in(dict(zip(names, typed.values(), strict=False))))


PARSERS: dict[str, tuple[st.SearchStrategy[Any], Parser]] = {
    "prompts": (PACKED, every_format(read_prompts)),
    "demonstrations and rankings": (FILES, every_format(read_all_labels)),
    "plain texts": (FILES, every_format(read_documents)),
    "benchmarks": (PACKED, read_benchmarks),
    "settings of an import, typed": (TYPED, forms.settings_typed),
    "settings of an import, as JSON": (FILES.map(lambda each: each.decode(errors="replace")), forms.settings_of_json),
    "a dataset of the Hub": (TYPED, forms.hub_source),
    "a rating schema": (TYPED, read_rating_schema),
    "a run's config": (TYPED, read_run),
    "a label": (TYPED, read_label),
    "days": (TYPED, read_days),
    "a snapshot's filter": (TYPED, read_freeze_form),
    "a question of the playground": (TYPED, read_question),
    "a backup's manifest": (VALUES, lambda value: manifest_of(json.dumps(value).encode())),
}


def tried(name: str, count: int) -> None:
    strategy, parse = PARSERS[name]

    @settings(max_examples=count, database=None)
    @given(strategy)
    def _parse(given: Any) -> None:
        with contextlib.suppress(Invalid):
            parse(given)

    _parse()


@pytest.mark.parametrize("key", ["../x", "/etc/passwd", "a/../../x", ".."])
@pytest.mark.parametrize("part", ["files", "tables"])
def test_path_traversal_a_backup_names_nothing_outside_itself(key: str, part: str) -> None:
    kept = {"files": {"size": 1, "sha256": "a"}, "tables": {"rows": 1, "sha256": "a"}}
    whole = {"version": "1", "revision": "1", "made_at": "2027-01-01T00:00:00Z", "database": "sqlite"}
    for name, is_refused in ((key, True), ("models/x..y/a", False)):
        said = json.dumps({**whole, "files": {}, "tables": {}, part: {name: kept[part]}}).encode()
        with pytest.raises(Invalid) if is_refused else contextlib.nullcontext():
            manifest_of(said)


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_reads_or_refuses(name: str) -> None:
    tried(name, 25)


@pytest.mark.prove
@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_reads_or_refuses_whatever_comes(name: str) -> None:
    tried(name, 3000)
