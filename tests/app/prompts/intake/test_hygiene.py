"""The steps of hygiene: what each holds, changes and leaves, in an import and against the pool."""

import random

import numpy as np
import pytest
from sqlalchemy import select

from app.accounts.models import AuditEvent, Person
from app.core.db import reading, writing
from app.core.errors import NotFound
from app.projects.models import Project
from app.prompts import service as prompts
from app.prompts.intake import acts, comparing, report, settling
from app.prompts.intake.alike import BANDS, fingerprint, jaccard, plain_text, shingles
from app.prompts.intake.personal import find_personal_data, masked
from app.prompts.intake.rules import parse_rules, use_case_by
from app.prompts.models import HeldFor, Prompt, PromptImport
from app.prompts.readers import RawRow
from tests.app.prompts.intake.at_work import draft, jsonl, take, texts

LONG = "Write a story about a fox who finds a hat in the forest, and about what its mother says when it comes home"


@pytest.fixture
def installation_url(database_url: str) -> str:
    """On both databases."""
    return database_url


def in_use(project: Project) -> list[str]:
    with reading() as session:
        query = select(Prompt).where(Prompt.project_id == project.id, Prompt.is_retired.is_(False))
        return texts(session.scalars(query.order_by(Prompt.import_row, Prompt.id)))


def held(row: PromptImport, reason: HeldFor) -> list[tuple[str, str]]:
    with reading() as session:
        found = settling.held_prompts(session, row, reason)
        return [(text, prompt.held_note) for text, prompt in zip(texts(found), found, strict=True)]


def test_long_common_prefixes_are_held_but_the_first(project: Project, admin: Person) -> None:
    ends = ["one", "two", "three"]
    rows = [*({"prompt": f"{LONG} {end}"} for end in ends), {"prompt": LONG[:99]}, {"prompt": "Short"}]
    row = take(project, admin, jsonl(*rows), prefix_characters=100)
    assert in_use(project) == [f"{LONG} one", LONG[:99], "Short"]
    assert row.counts == {"taken": 5, "held_prefix": 2}
    text, note = held(row, HeldFor.prefix)[0]
    assert text == f"{LONG} two"
    assert note.startswith("begins like “Write a story about a fox")
    later = take(project, admin, jsonl({"prompt": f"{LONG.upper()}  four"}), prefix_characters=100)
    assert later.counts == {"taken": 1, "held_prefix": 1}  # the pool's counts too, whatever its case and spacing


def test_a_system_message_and_an_instruction_of_examples_are_no_common_prefix(project: Project, admin: Person) -> None:
    system = {"role": "system", "content": LONG}
    rows: list[object] = [{"messages": [system, {"role": "user", "content": text}]} for text in ("Hi", "Ho")]
    rows.append({"prompt": LONG, "examples": [["a", "b"], ["c", "d"], ["e", "f"]]})
    row = take(project, admin, jsonl(*rows), prefix_characters=50, near_alike=0.7)
    assert row.counts == {"taken": 5}


def test_near_duplicates_are_held_beside_what_they_are_like(project: Project, admin: Person) -> None:
    other = "List seven birds that can be heard in an English garden in the early morning of a day in May"
    rows = [LONG, f"{LONG}.", other, LONG.replace("fox", "dog"), LONG.replace(" hat ", " cap "), other[:40] + LONG[:40]]
    row = take(project, admin, jsonl(*({"prompt": text} for text in rows)), near_alike=0.8)
    assert in_use(project) == [LONG, other, rows[5]]
    assert row.counts == {"taken": 6, "held_near": 3}
    assert held(row, HeldFor.near)[0][1].startswith("0.99 like “Write a story")


def test_prompts_that_came_without_a_fingerprint_are_compared_too(
    project: Project, admin: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "ROWS_AT_ONCE", 8)  # two at a time
    with writing() as session:
        rows = [RawRow(n, {"prompt": text}) for n, text in enumerate(["a", "b", "c", LONG, "d"])]
        prompts.import_prompts(session, project, rows, person=None, source="api")
    row = take(project, admin, jsonl({"prompt": f"{LONG}!"}), near_alike=0.9)
    assert row.counts == {"taken": 1, "held_near": 1}


def test_the_first_so_many_of_a_source_are_used(project: Project, admin: Person) -> None:
    rows = [{"prompt": f"{who} {n}", "user": who} for n in range(4) for who in ("ann", "ben")]
    first = take(project, admin, jsonl(*rows[:2], {"prompt": "nobody's"}), most_of_one=3, cap_by="user")
    assert first.counts == {"taken": 3}
    row = take(project, admin, jsonl(*rows), most_of_one=3, cap_by="user")
    assert row.counts == {"taken": 6, "duplicate": 2, "held_cap": 2}
    assert [text for text, _ in held(row, HeldFor.cap)] == ["ann 3", "ben 3"]
    row = acts.take_all_back(project, row.id, HeldFor.cap, by=admin)
    assert len(in_use(project)) == 9
    assert row.counts == {"taken": 6, "duplicate": 2, "held_cap": 2, "taken_back_cap": 2}
    with reading() as session:
        assert report.standing(session, row).in_use == 6


def test_taking_back_goes_on_where_it_broke_off(
    project: Project, admin: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "ROWS_AT_ONCE", 3)
    row = take(project, admin, jsonl(*({"prompt": f"ann {n}", "user": "ann"} for n in range(8))), most_of_one=1,
               cap_by="user")  # fmt: skip
    take_back_next, parts = settling.take_back_next, iter(range(9))

    def killed(*args: object) -> int:
        count = take_back_next(*args)  # type: ignore[arg-type]
        if next(parts) == 1:
            raise KeyboardInterrupt
        return count

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(settling, "take_back_next", killed)
        acts.take_all_back(project, row.id, HeldFor.cap, by=admin)
    with reading() as session:
        row = session.get_one(PromptImport, row.id)
        standing = report.standing(session, row)
    assert (standing.in_use, standing.held[HeldFor.cap], row.counts["taken_back_cap"]) == (4, 4, 3)
    row = acts.take_all_back(project, row.id, HeldFor.cap, by=admin)
    assert row.counts == {"taken": 8, "held_cap": 7, "taken_back_cap": 7}
    assert len(in_use(project)) == 8
    with reading() as session:
        asked = session.scalars(select(AuditEvent).where(AuditEvent.action == "prompts.import.take_back"))
        assert sorted(each.details["prompts"] for each in asked) == [4, 7]


def test_what_is_held_for_one_step_does_not_count_in_the_next(project: Project, admin: Person) -> None:
    rows = [{"prompt": f"{LONG} {n}", "organisation": "Mill"} for n in range(3)] + [
        {"prompt": "x", "organisation": "Mill"}
    ]
    row = take(project, admin, jsonl(*rows), prefix_characters=50, most_of_one=2)
    assert row.counts == {"taken": 4, "held_prefix": 2}


def test_lengths_and_languages(project: Project, admin: Person) -> None:
    german = "Schreibe eine Geschichte über einen Fuchs, der im Wald einen Hut findet."
    rows = [{"prompt": "Hm"}, {"prompt": LONG}, {"prompt": german}, {"prompt": "Kurz, bitte"}, {"prompt": "x" * 200},
            {"prompt": "Oui, oui, oui", "language": "fr"}]  # fmt: skip
    row = take(project, admin, jsonl(*rows), least_characters=5, most_characters=150, languages=["en"])
    assert in_use(project) == [LONG, "Kurz, bitte"]  # of the last nobody can tell
    assert row.counts == {"taken": 6, "held_length": 2, "held_language": 2, "changed_language": 3}
    assert [note for _, note in held(row, HeldFor.language)] == ["in “de”", "in “fr”"]


def test_rules_say_the_use_case_of_rows_that_name_none(project: Project, admin: Person) -> None:
    rules = "summarization: ^summarize, tl;dr\nopen qa: who, what"
    rows = [{"prompt": "Summarize what I say."}, {"prompt": "Who was it?"}, {"prompt": "To summarize."},
            {"prompt": "What?", "use_case": "Creative writing"}]  # fmt: skip
    row = take(project, admin, jsonl(*rows), use_case_rules=rules)
    with reading() as session:
        found = {p.messages[0]["content"]: p.use_case.value for p in session.scalars(select(Prompt))}
    assert list(found.values()).count("other") == 1
    assert (found["Who was it?"], found["Summarize what I say."], found["What?"]) == (
        "open_qa", "summarization", "generation"
    )  # fmt: skip
    assert row.counts == {"taken": 4, "changed_use_case": 2}
    assert use_case_by(parse_rules("extract: (a+)+"), "(a+)+") == "extract"  # words, not patterns


PERSONAL = [
    ("Mail ann.b+c@example.co.uk now", "Mail [e-mail] now"),
    ("Ring +44 20 7946 0958 or (212) 736-5000.", "Ring [phone number] or [phone number]."),
    ("Card 4111 1111 1111 1111", "Card [card number]"),
    ("Card 4111 1111 1111 1112", "Card 4111 1111 1111 1112"),
    ("To DE89 3704 0044 0532 0130 00!", "To [IBAN]!"),
    ("To GB82 WEST 1234 5698 7654 33!", "To GB82 WEST 1234 5698 7654 33!"),
    ("From 192.168.7.1 and 2001:db8::1", "From [IP address] and [IP address]"),
    ("At 12:30:45 on 127.0.0.1, 300.1.1.1", "At 12:30:45 on 127.0.0.1, 300.1.1.1"),
    ("SSN 123-45-6789, not 000-45-6789", "SSN [social security number], not 000-45-6789"),
    ("In 1984 there were 1,234,567 of 9 999.", "In 1984 there were 1,234,567 of 9 999."),
]


@pytest.mark.parametrize(("text", "without"), PERSONAL)
def test_personal_data_is_found_by_its_form_and_its_check_digits(text: str, without: str) -> None:
    assert masked(text) == without
    assert all(0 <= found.start < found.end <= len(text) for found in find_personal_data(text))


def test_personal_data_is_masked_or_held(project: Project, admin: Person) -> None:
    rows = [{"prompt": "Write to ann@example.org."}, {"prompt": "Write a story."}]
    row = take(project, admin, jsonl(*rows), personal_data="review")
    assert in_use(project) == ["Write a story."]
    assert held(row, HeldFor.personal_data) == [("Write to ann@example.org.", "e-mail")]
    row = take(project, admin, jsonl(*rows), personal_data="mask")
    assert row.counts == {"taken": 1, "duplicate": 1, "changed_masked": 1}
    assert in_use(project) == ["Write to [e-mail].", "Write a story."]


def test_what_is_arriving_is_not_taken_back(project: Project, admin: Person) -> None:
    row = take(project, admin, jsonl({"prompt": "One"}))
    with pytest.raises(NotFound):
        acts.take_all_back(project, row.id, HeldFor.arriving, by=admin)
    unfinished = draft(project, admin, jsonl({"prompt": "Two"}))
    with pytest.raises(NotFound):
        acts.take_all_back(project, unfinished, HeldFor.cap, by=admin)


def alike_by(share: float, chance: random.Random) -> tuple[str, str]:
    words = ["".join(chance.choices("abcdefghijklmnop", k=6)) for _ in range(200)]
    others = [word if chance.random() < share else "".join(chance.choices("abcdefghijklmnop", k=6)) for word in words]
    return " ".join(words), " ".join(others)


@pytest.mark.parametrize("share", [0.85, 0.92, 0.97])
def test_fingerprints_meet_in_a_band_as_often_as_the_mathematics_says(share: float) -> None:
    """1 - (1 - s^8)^16 for a similarity of s: 0.95 at 0.8, 0.9999 at 0.93."""
    chance, met, expected = random.Random(3), 0, []
    for _ in range(200):
        first, second = (plain_text([{"role": "user", "content": text}]) for text in alike_by(share, chance))
        expected.append(1 - (1 - jaccard(shingles(first), shingles(second)) ** 8) ** BANDS)
        one, other = (np.frombuffer(fingerprint(text), "<u4") for text in (first, second))
        met += bool((one == other).any())
    spread = sum(p * (1 - p) for p in expected) ** 0.5
    assert abs(met - sum(expected)) < 3 * spread + 1


def test_fingerprints_of_texts_that_differ_do_not_meet() -> None:
    far, away = (np.frombuffer(fingerprint(text), "<u4") for text in alike_by(0.3, random.Random(3)))
    assert len(far) == BANDS
    assert not (far == away).any()
