"""PPO and PPO-ptx over four seeds on the starter's material: reward, KL, held-out reward and the alignment tax.

Made once, by the trainers themselves: SFT on the starter's demonstrations, its completions of the starter's prompts
and 360 more ranked by simulated labelers as `touchstone simulate` has them, and a reward model on them; then other
completions, ranked anew, and a second reward model that only watches. PPO starts from the SFT model with a small
model's own settings but for the episodes. The tax is the loss on held-out plain text of the kind the base was
pretrained on, after PPO less before.
"""

import gzip
import json
import random
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from app.datasets.examples import Demonstration, Prompt, Ranking, Text
from app.runs.configs import RunKind
from app.runs.presets import defaults_for
from app.simulation.labelers import AGREEMENT
from app.simulation.utility import TIE_WIDTH, calibrate_noise, ranks_of, utility
from app.starter.load import CONTENT, MODEL, count_parameters
from tests.prove.test_loop import more_prompts
from workers.training import ppo, reward_model, sampling, sft
from workers.training.loop import Signal, Step

SEEDS = (1, 2, 3, 4)
PROMPTS_LOOKED_AT = 60
EPISODES = 480  # 10 iterations of 48
JUDGED_FROM = {"trained": 6, "watching": 4}  # K of each reward model's rankings
KINDS = {"PPO": {"ptx_coefficient": 0.0}, "PPO-ptx": {}}

Metrics = dict[str, float]


@dataclass(frozen=True, slots=True)
class Material:
    """What all runs share."""

    prompts: list[Prompt]
    texts: list[Text]
    sft: Path
    judges: dict[str, Path]


def settings(kind: RunKind, **changes: Any) -> Any:
    """A small model's own, with `changes`."""
    config = defaults_for(kind, count_parameters(MODEL / "model.safetensors"))
    return type(config).model_validate(config.model_dump() | changes)


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def read_prompts(folder: Path) -> list[Prompt]:
    """The starter's, and 420 more; the starter's split where one is in both."""
    own = [(row["messages"], row["split"]) for row in lines(CONTENT / "prompts.jsonl")]
    more = [([{"role": "user", "content": row["prompt"]}], row["split"]) for row in lines(more_prompts(folder))]
    found = {json.dumps(messages): (messages, split) for messages, split in more + own}
    return [Prompt(str(number), messages, split) for number, (messages, split) in enumerate(found.values())]


def read_texts() -> list[Text]:
    with gzip.open(CONTENT / "texts.jsonl.gz", "rt", encoding="utf-8") as file:
        return [Text(row["text"], row["split"]) for row in map(json.loads, file)]


def make_material(place: Path) -> Material:
    rows = lines(CONTENT / "demonstrations.jsonl")
    demonstrations = [Demonstration(str(i), r["messages"], r["completion"], r["split"]) for i, r in enumerate(rows)]
    prompts, tuned = read_prompts(place), place / "sft"
    sft.train(settings(RunKind.sft), demonstrations, go_on, base=MODEL, out=tuned, checkpoints=place / "of-sft")
    judges = {}
    for seed, (role, completions) in enumerate(JUDGED_FROM.items(), start=1):
        rankings = rank(prompts, completions, model=tuned, seed=seed, place=place / f"drawn-{seed}")
        done = reward_model.train(
            settings(RunKind.reward_model, seed=seed), rankings, go_on, base=tuned, out=place / role,
            checkpoints=place / f"of-{role}", demonstrations=demonstrations,
        )  # fmt: skip
        print(f"{role} reward model, {len(rankings)} rankings: {100 * done.metrics['valid_accuracy']:.1f} % of the "
              f"held-out pairs right", flush=True)  # fmt: skip
        judges[role] = place / role
    return Material(prompts, read_texts(), tuned, judges)


def rank(prompts: list[Prompt], completions: int, *, model: Path, seed: int, place: Path) -> list[Ranking]:
    """What the model writes for prompts that are trained and validated on, ordered by noisy simulated labelers."""
    asked = {prompt.id: prompt for prompt in prompts if prompt.split in ("train", "valid")}
    config = settings(RunKind.sampling, prompts=len(asked), completions_per_prompt=completions, seed=seed)
    drawn = sampling.sample(config, list(asked.values()), go_on, model=model, checkpoints=place)
    texts: dict[str, list[str]] = {}
    for each in drawn:
        texts.setdefault(each.prompt_id, []).append(each.text)
    worth = {key: [utility(asked[key].messages, text) for text in own] for key, own in texts.items()}
    noise, chance = calibrate_noise(list(worth.values()), AGREEMENT), random.Random(seed)
    seen = {key: [value + chance.gauss(0, noise) for value in own] for key, own in worth.items()}
    return [
        Ranking(key, key, asked[key].messages, own, ranks_of(seen[key], TIE_WIDTH * noise), asked[key].split, "", key)
        for key, own in texts.items()
    ]


def go_on(_: Step) -> Signal:
    return Signal.CONTINUE


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run: its first iteration's figures, and its last with those of the looks before and after."""

    first: Metrics
    last: Metrics
    seconds: float

    def change(self, name: str) -> float:
        return self.last[name] - self.before(name)

    def before(self, name: str) -> float:
        """As the SFT model has it: of a look before the first step, or of the first iteration's episodes."""
        return self.last.get(f"{name}_before", self.first.get(name, 0.0))


def run_ppo(material: Material, place: Path, **changes: Any) -> Run:
    steps: list[Metrics] = []

    def on_step(step: Step) -> Signal:
        steps.append(step.metrics)
        return Signal.CONTINUE

    began = time.monotonic()
    config = settings(RunKind.ppo, episodes=EPISODES, evaluation_prompts=PROMPTS_LOOKED_AT, **changes)
    done = ppo.train(
        config, material.prompts, on_step, policy=material.sft, reward_model=material.judges["trained"],
        watch=material.judges["watching"], out=place / "out", checkpoints=place / "checkpoints", texts=material.texts,
    )  # fmt: skip
    return Run(steps[0], done.metrics, time.monotonic() - began)


# What the table has, and the metrics it is read from; of each its mean before and after over seeds, and the change.
MEASURES = {
    "reward of an iteration's episodes, trained model": "reward",
    "the same, watching model": "reward_watch",
    "held-out reward, trained model": "valid_reward",
    "held-out reward, watching model": "valid_reward_watch",
    "KL to the SFT model, nats an episode": "kl",
    "share that ends by itself": "eos_share",
    "length, tokens": "length",
    "loss on held-out plain text, nats a token (its change is the alignment tax)": "text_loss",
}


def mean_and_sd(values: list[float], *, style: str) -> str:
    mean = fmean(values) if abs(fmean(values)) > 1e-4 else 0.0  # no "-0.00"
    return f"{mean:{style}} ± {stdev(values):{style.lstrip('+')}}"


def print_table(runs: dict[str, list[Run]]) -> None:
    print("\n| measure | before | " + " | ".join(f"{kind}: after | change" for kind in runs) + " |")
    print("|---" * (2 + 2 * len(runs)) + "|")
    for said, name in MEASURES.items():
        style = ".3f" if name == "text_loss" else ".2f"
        cells = [mean_and_sd([run.before(name) for run in next(iter(runs.values()))], style=style)]
        for of in runs.values():
            cells.append(mean_and_sd([run.last[name] for run in of], style=style))
            cells.append(mean_and_sd([run.change(name) for run in of], style="+" + style))
        print(f"| {said} | {' | '.join(cells)} |")


def test_reward_rises_and_ptx_pays_less_tax_on_average(tmp_path: Path) -> None:
    material = make_material(tmp_path)
    runs: dict[str, list[Run]] = {kind: [] for kind in KINDS}
    for seed in SEEDS:
        for kind, changes in KINDS.items():
            runs[kind].append(run := run_ppo(material, tmp_path / f"{kind}-{seed}", seed=seed, **changes))
            figures = ", ".join(f"{name} {run.before(name):.3f} to {run.last[name]:.3f}" for name in MEASURES.values())
            print(f"{kind}, seed {seed}: {figures}; {run.seconds:.0f} s", flush=True)
    print_table(runs)
    tax = {kind: fmean(run.change("text_loss") for run in of) for kind, of in runs.items()}
    assert tax["PPO-ptx"] < tax["PPO"], "plain text in the gradient must keep what the base knew of it"
    for kind, of in runs.items():
        assert fmean(run.change("valid_reward") for run in of) > 0, f"{kind} must raise the held-out reward"
        assert fmean(run.last["reward"] - run.first["reward"] for run in of) > 0, f"{kind} must raise the reward"
