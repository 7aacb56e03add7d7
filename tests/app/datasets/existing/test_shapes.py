"""Rows in the shapes that public datasets have say what they said, and a row that does not is refused in words."""

import json
from typing import Any

import pytest

from app.datasets.existing.cells import label_rows
from app.datasets.existing.plain import Labeled, Order
from app.datasets.existing.shapes import Shape, read_labels, shape_of
from app.prompts.readers import ImportFormat, RawRow, read_rows

ASKED = [{"role": "user", "content": "Where is the dog?"}]
CHAT = [*ASKED, {"role": "assistant", "content": "Which?"}, {"role": "user", "content": "Mine."}]


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def only(values: dict[str, Any], shape: Shape) -> Labeled:
    """What one row says, its shape told by its fields."""
    assert shape_of(values) == shape
    (row,) = read_labels([RawRow(1, json.loads(json.dumps(values)))])
    assert row.problem == ""
    (labeled,) = row.labeled
    return labeled


def texts(labeled: Labeled) -> list[str]:
    return [candidate.text for candidate in labeled.candidates]


PAIRS = {
    "texts with a prompt": {"prompt": "Where is the dog?", "chosen": "Home.", "rejected": "Gone."},
    "messages with a prompt": {"prompt": ASKED, "chosen": [said("Home.")], "rejected": [said("Gone.")]},
    "messages without": {"chosen": [*ASKED, said("Home.")], "rejected": [*ASKED, said("Gone.")]},
    "UltraFeedback binarized": {
        "prompt": "Where is the dog?", "chosen": [*ASKED, said("Home.")], "rejected": [*ASKED, said("Gone.")],
        "score_chosen": 8.0, "score_rejected": 2.0,
    },
}  # fmt: skip


@pytest.mark.parametrize("values", PAIRS.values(), ids=PAIRS.keys())
def test_a_pair_of_trl(values: dict[str, Any]) -> None:
    labeled = only(values, Shape.pairs)
    assert labeled.messages == ASKED
    assert texts(labeled) == ["Home.", "Gone."]
    assert labeled.orders == (Order((1, 2)),)
    assert labeled.candidates[0].score == values.get("score_chosen")


def test_a_pair_of_texts_that_hold_their_prompt_parts_between_words() -> None:
    labeled = only({"chosen": "The dog ran home.", "rejected": "The dog ran hot."}, Shape.pairs)
    assert labeled.messages[0]["content"] == "The dog ran"
    assert texts(labeled) == ["home.", "hot."]


def test_hh_rlhf_parts_at_the_last_answer() -> None:
    head = "\n\nHuman: Where is the dog?\n\nAssistant: Which?\n\nHuman: Mine.\n\nAssistant:"
    labeled = only({"chosen": f"{head} Home.\n\nSafe.", "rejected": f"{head} Gone."}, Shape.hh_rlhf)
    assert labeled.messages == CHAT
    assert texts(labeled) == ["Home.\n\nSafe.", "Gone."]


@pytest.mark.parametrize(("choice", "ranks"), [(0, (1, 2)), (1, (2, 1))])
def test_a_comparison_of_summaries(choice: int, ranks: tuple[int, int]) -> None:
    row = {
        "info": {"post": "My dog ran off.", "title": "Dog", "subreddit": "pets"}, "choice": choice, "worker": "w7",
        "summaries": [{"text": "It ran.", "policy": "sup4"}, {"text": "A dog.", "policy": "ref"}], "split": "valid2",
    }  # fmt: skip
    labeled = only(row, Shape.summaries)
    assert labeled.messages[0]["content"] == "SUBREDDIT: r/pets\n\nTITLE: Dog\n\nPOST: My dog ran off.\n\nTL;DR:"
    assert labeled.orders == (Order(ranks, "w7"),)
    assert [candidate.model for candidate in labeled.candidates] == ["sup4", "ref"]
    assert labeled.about["use_case"] == "summarization"


def test_scores_of_k_become_ranks_and_equal_scores_tie() -> None:
    rows = [
        {"response": "a", "model": "m1", "overall_score": 7.5},
        {"response": "b", "model": "m2", "annotations": {"helpfulness": {"Rating": "9"}, "honesty": {"Rating": "9"}}},
        {"response": "c", "model": "m3", "overall_score": 7.5},
        {"response": "d", "model": "m4", "overall_score": "N/A"},
    ]
    labeled = only({"instruction": "Say a letter.", "completions": rows}, Shape.scored)
    assert labeled.orders == (Order((2, 1, 2, None)),)


def test_our_own_export_of_whole_rankings_comes_back() -> None:
    row = {"prompt": CHAT, "completions": ["a", "b", ""], "ranks": [2, 1, 2], "labeler": "labeler-1", "group": "Acme"}
    labeled = only(row, Shape.ranked)
    assert (labeled.messages, labeled.orders) == (CHAT, (Order((2, 1, 2), "labeler-1"),))
    assert texts(labeled)[2] == ""  # a model may have said nothing
    assert labeled.about == {"organisation": "Acme"}


def test_several_labelers_of_one_set() -> None:
    row = {
        "prompt": [["user", "Hi"]], "responses": [{"text": "a", "model": "m"}, {"text": "b"}],
        "rankings": [{"labeler": "x", "ranks": [1, 1]}, {"labeler": "y", "ranks": [2, 1]}],
    }  # fmt: skip
    assert only(row, Shape.ranked).orders == (Order((1, 1), "x"), Order((2, 1), "y"))


def test_a_tree_is_a_ranking_at_every_turn_and_a_persons_best_reply_a_demonstration() -> None:
    def reply(text: str, rank: int | None, **more: Any) -> dict[str, Any]:
        return {"text": text, "role": "assistant", "rank": rank, **more}

    deep = {"text": "Mine.", "role": "prompter", "replies": [reply("Home.", None, user_id="u2")]}
    first = [reply("Which?", 1, user_id="u1", replies=[deep]), reply("Beep.", 0, synthetic=True),
             reply("Buy dogs!", 2, deleted=True)]  # fmt: skip
    row = {"message_tree_id": "t1", "prompt": {"text": ASKED[0]["content"], "role": "prompter", "replies": first}}
    (read,) = read_labels([RawRow(1, row)])
    top, below = read.labeled
    assert (top.messages, top.orders) == (ASKED, (Order((2, 1), "consensus of volunteers"),))
    assert texts(top) == ["Which?", "Beep."]
    assert [(w.text, w.labeler) for w in top.written] == [("Which?", "u1")]
    assert (below.messages, below.orders) == (CHAT, ())
    assert [(w.text, w.labeler) for w in below.written] == [("Home.", "u2")]


FIELDS = {"prompt": "Where is the dog?", "response-1": "Home.", "response-2": "Gone."}
ORDERED = [{"value": "response-2", "rank": 1}, {"value": "response-1", "rank": 2}]
ARGILLA = {
    "nested": {"fields": FIELDS, "responses": {"order": [{"value": ORDERED, "user_id": "u1", "status": "submitted"}]}},
    "by names alone": {
        "fields": FIELDS, "responses": {"order": [{"value": ["response-2", "response-1"], "user_id": "u1"}]},
    },
    "a choice": {"fields": FIELDS, "responses": {"better": [{"value": "response-2", "user_id": "u1"}]}},
    "flat": {**FIELDS, "order.responses": [ORDERED], "order.responses.users": ["u1"],
             "order.responses.status": ["submitted"]},
    "before version 2": {
        "fields": FIELDS,
        "responses": [{"user_id": "u1", "status": "submitted", "values": {"order": {"value": ORDERED}}}],
    },
}  # fmt: skip


@pytest.mark.parametrize("row", ARGILLA.values(), ids=ARGILLA.keys())
def test_a_ranking_of_argilla(row: dict[str, Any]) -> None:
    labeled = only(row, Shape.argilla)
    assert labeled.messages == ASKED
    assert texts(labeled) == ["Home.", "Gone."]
    assert labeled.orders == (Order((2, 1), "u1"),)


def test_a_text_of_argilla_is_a_demonstration_and_a_draft_is_none() -> None:
    answers = [{"value": "Home.", "user_id": "u1", "status": "submitted"}, {"value": "Ho", "status": "draft"}]
    labeled = only({"fields": {"instruction": "Where?"}, "responses": {"answer": answers}}, Shape.argilla)
    assert [(written.text, written.labeler) for written in labeled.written] == [("Home.", "u1")]


RESULTS = {
    "pairwise": ({"selected": "right"}, (2, 1)),
    "choices": ({"choices": ["response-2"]}, (2, 1)),
    "ranker": ({"ranker": {"rank": ["response-2", "response-1"]}}, (2, 1)),
    "tie": ({"choices": ["tie"]}, (1, 1)),
}


@pytest.mark.parametrize(("value", "ranks"), RESULTS.values(), ids=RESULTS.keys())
def test_an_annotation_of_label_studio(value: dict[str, Any], ranks: tuple[int, int]) -> None:
    done = [{"completed_by": {"id": 4, "email": "someone@example.org"}, "result": [{"value": value}]},
            {"completed_by": 5, "was_cancelled": True, "result": [{"value": value}]}]  # fmt: skip
    labeled = only({"id": 1, "data": FIELDS, "annotations": done}, Shape.label_studio)
    assert texts(labeled) == ["Home.", "Gone."]
    assert labeled.orders == (Order(ranks, "4"),)  # by number: no address comes in


def test_a_text_of_label_studio_is_a_demonstration() -> None:
    done = [{"completed_by": 4, "result": [{"value": {"text": ["Home."]}}]}]
    labeled = only({"data": {"prompt": "Where?"}, "annotations": done}, Shape.label_studio)
    assert labeled.written[0].text == "Home."


DEMONSTRATIONS = {
    "TRL, texts": ({"prompt": "Where is the dog?", "completion": "Home."}, Shape.completed),
    "TRL, messages": ({"prompt": ASKED, "completion": [said("Home.")]}, Shape.completed),
    "TRL, a conversation": ({"messages": [*ASKED, said("Home.")]}, Shape.conversations),
    "ShareGPT": (
        {"conversations": [{"from": "human", "value": "Where is the dog?"}, {"from": "gpt", "value": "Home."}]},
        Shape.conversations,
    ),
    "Alpaca": ({"instruction": "Where is the dog?", "input": "", "output": "Home."}, Shape.completed),
}


@pytest.mark.parametrize(("row", "shape"), DEMONSTRATIONS.values(), ids=DEMONSTRATIONS.keys())
def test_a_demonstration(row: dict[str, Any], shape: Shape) -> None:
    labeled = only(row, shape)
    assert labeled.messages == ASKED
    assert [written.text for written in labeled.written] == ["Home."]


def test_the_input_of_alpaca_stands_below_its_instruction() -> None:
    labeled = only({"instruction": "Add.", "input": "1, 2", "output": "3"}, Shape.completed)
    assert labeled.messages[0]["content"] == "Add.\n\n1, 2"


HH_SHORT = "\n\nHuman: a\n\nAssistant: x"
REFUSED = [
    ({"a": 1}, "is of no known shape; its fields are a"),
    ([1], "is not an object with named fields"),
    ({"prompt": "p", "chosen": "a", "rejected": None}, "`rejected` is neither text nor a list of messages"),
    ({"prompt": "p", "completion": " "}, "its demonstration is empty"),
    ({"prompt": "p", "chosen": 1, "rejected": "b"}, "`chosen` is neither text nor a list of messages"),
    ({"chosen": [*ASKED, said("a")], "rejected": [*ASKED, said("a")]}, "`chosen` and `rejected` are the same"),
    ({"chosen": [said("a")], "rejected": [said("b")]}, "`chosen` and `rejected` share no prompt"),
    (
        {"chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d", "rejected": HH_SHORT},
        "`chosen` is not one answer of the assistant's",
    ),
    ({"summaries": [], "choice": 0, "info": {"post": "p"}}, "there are 0 `summaries`, not two"),
    ({"prompt": "p", "completions": ["a", "b"], "ranks": [1]}, "a ranking has not one rank for each of the 2"),
    ({"prompt": "p", "completions": ["a", "b"], "ranks": [0, 1]}, "a rank is no whole number from 1 on"),
    ({"prompt": "p", "completions": ["a"], "ranks": [1]}, "there are no two completions to compare"),
    ({"fields": FIELDS, "responses": {"order": []}}, "no annotator ranked its completions or wrote one"),
    ({"data": {"image": "x"}, "annotations": []}, "none of its fields is a prompt"),
    ({"data": FIELDS, "annotations": [{"result": 3}]}, "is not what tasks with annotations"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "a turn of `messages` is by 'robot'"),
    ({"messages": ASKED}, "`messages` is not one answer of the assistant's"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "problem"), REFUSED)
def test_a_row_that_cannot_be_understood_is_refused_in_words(values: Any, problem: str) -> None:
    (row,) = read_labels([RawRow(3, values)])
    assert (row.number, row.labeled) == (3, ())
    assert row.problem.startswith(problem)


def test_tables_hold_any_shape() -> None:
    """hh-rlhf's pairs, and lists as JSON in their cells; a text that only begins like a list stays one."""
    head = "\n\nHuman: Where?\n\nAssistant:"
    (transcript,) = read_labels(
        label_rows(f'chosen,rejected\n"{head} Home.","{head} Gone."\n'.encode(), ImportFormat.csv)
    )
    assert texts(transcript.labeled[0]) == ["Home.", "Gone."]
    table = b'prompt;completions;ranks\n[1, 2];"[""a"", ""b""]";"[2, 1]"\n[oops;"[""a"", ""b""]";[2\n'
    first, second = read_labels(label_rows(table, ImportFormat.csv))
    assert (first.labeled[0].messages[0]["content"], first.labeled[0].orders) == ("[1, 2]", (Order((2, 1)),))
    assert second.problem == "a ranking has not one rank for each of the 2 completions"


def test_a_completion_stays_as_it_was_and_may_be_nothing() -> None:
    pair = {"prompt": " Where? ", "chosen": " Home.\n", "rejected": ""}
    labeled = only(pair, Shape.pairs)
    assert (labeled.messages[0]["content"], texts(labeled)) == ("Where?", [" Home.\n", ""])
    head = "\n\nHuman: Where?\n\nAssistant:"
    assert texts(only({"chosen": f"{head} Home.\n", "rejected": f"{head} "}, Shape.hh_rlhf)) == ["Home.\n", ""]


def test_a_shape_that_is_asked_for_counts_for_every_row() -> None:
    rows = read_rows(b'{"prompt": "p", "completion": "c"}', ImportFormat.jsonl)
    (row,) = read_labels(rows, Shape.pairs)
    assert row.problem.startswith("is not what chosen and rejected")
