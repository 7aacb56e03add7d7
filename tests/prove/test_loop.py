"""What one turn of the loop reaches on the starter project, by the simulated labelers' own true utility."""

import itertools
import random
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from app.core.db import reading
from app.evals import service as evals
from app.evals.contestants import Contestant
from app.evals.judgments import Judgments
from app.evals.spread import Estimate
from app.projects.service import project_by_slug
from app.registry.models import Model
from app.runs.models import Run
from app.simulation.utility import share_mentioned, share_repeated, utility, warmth_of_ending
from tests.ports import free_port
from tests.prove.estimates import clustered_mean
from tests.system.forms import form_values
from tests.system.installation import Installation
from tests.system.loop import Loop, first_admin, write_jsonl
from tests.workers.jobs.processes import eventually

# fmt: off
WHO = ["dog", "cat", "bear", "boy", "girl", "fox", "bird", "frog", "mouse", "rabbit", "duck",
       "lion", "pig", "cow", "horse", "bee", "owl", "fish", "turtle", "sheep"]
WHAT = ["ball", "boat", "kite", "cake", "hat", "tree", "box", "bike", "book", "drum", "star", "flower",
        "hill", "lake", "bed", "bell", "shell", "stone", "door", "train", "moon", "apple", "garden", "river"]
# fmt: on


def more_prompts(folder: Path) -> Path:
    """420 prompts of two subjects each: 300 to train on, 60 for validation, 60 for testing."""
    pairs = random.Random(11).sample(list(itertools.product(WHO, WHAT)), 420)
    splits = ["train"] * 300 + ["valid"] * 60 + ["test"] * 60
    return write_jsonl(folder / "prompts.jsonl", [
        {"prompt": f"Write a story about a {who} and a {what}.", "use_case": "generation", "split": split,
         "organisation": f"Proof {split}"}
        for (who, what), split in zip(pairs, splits, strict=True)
    ])  # fmt: skip


def words(estimate: Estimate, *, percent: bool = True) -> str:
    scale, unit = (100, " %") if percent else (1, "")
    return (
        f"{scale * estimate.mean:.{1 if percent else 2}f}{unit} "
        f"({scale * estimate.low:.{1 if percent else 2}f} to {scale * estimate.high:.{1 if percent else 2}f})"
    )


def import_prompts(loop: Loop, file: Path) -> None:
    address = f"/p/{loop.slug}/prompts/import"
    page = loop.admin.post(address, files={"file": (file.name, file.read_bytes(), "application/jsonl")})
    here = page.url.path
    started = loop.admin.post(here, data=form_values(page.text, here) | {"then": "start", "prefix_characters": ""})
    assert started.is_success, started.text[:2000]
    eventually(lambda: "prompts are in use" in loop.admin.get(here).text, what="the import is done")


Measure = Callable[[list[dict[str, str]], str], float]
# What the utility consists of, so that the table says what a gain consists of.
PARTS: dict[str, Measure] = {
    "share of the prompt's subjects mentioned": share_mentioned,
    "warmth of the ending": lambda _, text: warmth_of_ending(text),
    "share of repeated trigrams": lambda _, text: share_repeated(text),
}


def measured(loop: Loop, sampled: Run, measure: Measure) -> dict[object, list[tuple[object, float]]]:
    """(prompt, measure) of every completion, by model."""
    found: dict[object, list[tuple[object, float]]] = {}
    for completion, prompt in loop.completions(sampled):
        found.setdefault(completion.model_id, []).append((prompt.id, measure(prompt.messages, completion.text)))
    return found


def true_win_rate(mine: list[tuple[object, float]], theirs: list[tuple[object, float]]) -> Estimate:
    """How often mine has the higher utility for the same prompt, over all pairs; equal counts half."""
    points = [
        (prompt, 1.0 if a > b else 0.5 if a == b else 0.0)
        for prompt, a in mine
        for other, b in theirs
        if prompt == other
    ]
    return clustered_mean(points)


class Table:
    def __init__(self) -> None:
        self.rows: list[tuple[str, str]] = []

    def add(self, what: str, figure: str) -> None:
        self.rows.append((what, figure))
        print(f"  {what}: {figure}", flush=True)

    def print(self) -> None:
        print("\n| measure | figure |\n|---|---|")
        for what, figure in self.rows:
            print(f"| {what} | {figure} |")


@pytest.fixture
def loop(tmp_path: Path) -> object:
    with (
        Installation(tmp_path / "var", free_port(), TOUCHSTONE_STALE_AFTER_SECONDS="60") as here,
        closing(first_admin(here)) as admin,
    ):
        loop = Loop(here, admin)
        loop.wait_for_base()
        yield loop
        loop.engine.dispose()


def test_the_loop_makes_a_better_policy(loop: Loop, tmp_path: Path) -> None:
    table, began = Table(), time.monotonic()
    import_prompts(loop, more_prompts(tmp_path))
    base = loop.model(source="starter")

    # 1. SFT on the starter's demonstrations.
    sft = loop.model_of(run := loop.run("sft", part_base=base.id))
    table.add("SFT", f"{run.result['best_valid_loss']:.3f} validation loss a token")

    # 2. Rankings of its completions; then, for a second judge, rankings of other completions by the next round.
    judges: list[Model] = []
    for turn, k in ((1, 6), (2, 4)):
        loop.run("sampling", part_model=sft.id, prompts=400, completions_per_prompt=k, seed=turn)
        said = loop.simulate(400, seed=turn)
        table.add(f"rankings, round {turn}", said.replace("\n", " ").strip())
        run = loop.run("reward_model", part_base=sft.id, part_comparisons="new-round", seed=turn)
        judges.append(loop.model_of(run))
        table.add(f"reward model {turn}, accuracy on unseen prompts", accuracy(run))
        if turn == 1:
            loop.admin.post(f"/p/{loop.slug}/rounds").raise_for_status()

    # 3. PPO-ptx against the first judge while the second only watches.
    run = loop.run("ppo", seconds=3000, part_policy=sft.id, part_reward_model=judges[0].id, part_watch=judges[1].id)
    policy = loop.model_of(run)
    for name in sorted(run.result):
        if any(word in name for word in ("reward", "kl", "text_loss", "length", "eos")):
            table.add(f"PPO-ptx: {name}", f"{run.result[name]:.3f}")

    # 4. Base, SFT and policy side by side on prompts that none of them saw.
    sampled = loop.run(
        "sampling",
        part_model=base.id,
        part_model_2=sft.id,
        part_model_3=policy.id,
        prompts=90,
        completions_per_prompt=2,
        batch_kind="evaluation",
        group="everyone",
        seed=9,
    )
    table.add("evaluation", loop.simulate(90, seed=3).replace("\n", " ").strip())
    worth = measured(loop, sampled, utility)
    for what, measure in {"true utility": utility, **PARTS}.items():
        of = measured(loop, sampled, measure)
        for name, model in (("base", base), ("SFT", sft), ("PPO-ptx", policy)):
            table.add(f"{what}, {name}", words(clustered_mean(of[model.id]), percent=False))
    rates = {
        "PPO-ptx over SFT": true_win_rate(worth[policy.id], worth[sft.id]),
        "SFT over base": true_win_rate(worth[sft.id], worth[base.id]),
        "PPO-ptx over base": true_win_rate(worth[policy.id], worth[base.id]),
    }
    for name, rate in rates.items():
        table.add(f"win rate by true utility, {name}", words(rate))
    with reading(loop.engine) as session:
        project = project_by_slug(session, loop.slug)
        over = {
            (row.contestant, model.id): row.win_rate
            for model in (sft, base)
            for row in evals.standings(session, project, Contestant(model.id), judgments=Judgments()).rows
        }
    table.add("win rate by simulated labelers, PPO-ptx over SFT", words(over[Contestant(policy.id), sft.id]))
    table.add("win rate by simulated labelers, SFT over base", words(over[Contestant(sft.id), base.id]))
    table.add("whole proof", f"{(time.monotonic() - began) / 60:.0f} min")
    table.print()
    assert rates["SFT over base"].low > 0.5, "SFT must beat the base"
    assert rates["PPO-ptx over SFT"].low > 0.5, "PPO-ptx must beat SFT"


def accuracy(run: Run) -> str:
    shown = {name: value for name, value in run.result.items() if "accuracy" in name or "rankings" in name}
    return ", ".join(f"{name} {value:.3f}" for name, value in sorted(shown.items()))
