"""Fresh items for the benchmark's labelers."""

import random
import uuid
from collections.abc import Iterator
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from app.labeling.models import Batch, Completion, Item, ItemCompletion
from app.prompts.models import Prompt, Split, UseCase

TALE = "the dog ran home and found a little red ball under the old apple tree while rain fell on every roof"
FEWEST, MOST = 4, 9  # completions of an item
SHORTEST, LONGEST = 60, 180  # words of a completion
KINDS = MOST - FEWEST + 1


def some_text(chance: random.Random) -> str:
    return " ".join(chance.choices(TALE.split(), k=chance.randint(SHORTEST, LONGEST)))


def fresh_texts(first: int, count: int) -> Iterator[tuple[int, str, list[str]]]:
    """Position, prompt and completions of `count` items."""
    chance = random.Random(count)
    for position in range(first, first + count):
        prompt = f"Write a story about a dog and a ball, number {position}. {some_text(chance)}"
        yield position, prompt, [some_text(chance) for _ in range(FEWEST + position % KINDS)]


def add_fresh_items(session: Session, batch: Batch, count: int) -> None:
    """Items that wait for a labeler, behind those that are there."""
    first = (session.scalar(select(func.max(Item.position)).where(Item.batch_id == batch.id)) or 0) + 1
    rows: dict[type, list[dict[str, Any]]] = {Prompt: [], Item: [], Completion: [], ItemCompletion: []}
    for position, said, completions in fresh_texts(first, count):
        prompt, item = uuid.uuid4(), uuid.uuid4()
        rows[Prompt].append({
            "id": prompt, "project_id": batch.project_id, "messages": [{"role": "user", "content": said}],
            "use_case": UseCase.generation, "split": Split.train, "source": "benchmark", "content_hash": prompt.hex,
        })  # fmt: skip
        rows[Item].append({"id": item, "batch_id": batch.id, "prompt_id": prompt, "position": position, "wanted": 1})
        for place, words in enumerate(completions):
            completion = uuid.uuid4()
            rows[Completion].append({"id": completion, "prompt_id": prompt, "number": place, "text": words})
            rows[ItemCompletion].append({"item_id": item, "completion_id": completion, "position": place})
    for kind, values in rows.items():
        session.execute(insert(kind), values)
