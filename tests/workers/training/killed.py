"""Tiny runs of every trainer in processes that are killed: `python -m tests.workers.training.killed NAME FOLDER`.

Each attempt is a fork that goes on where the one before died, and dies by SIGKILL at the next moment of a list:
after a step, while a checkpoint is renamed into place, while an old one is deleted. The last attempt is not killed.
With `each` as a third word every moment is tried on a run of its own, against a run that never was killed.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from app.runs.configs import CrossValidationConfig, RewardModelConfig, SamplingConfig, SftConfig
from app.runs.newer_configs import DpoConfig, RlooConfig
from tests.workers.tiny import demonstrations, rankings, save_base
from tests.workers.training import tiny_ppo
from workers.training import cross_validation, dpo, ppo, reward_model, rloo, sampling, sft
from workers.training.loop import OnStep, Signal, Step
from workers.training.models import load_tokenizer, new_reward_model, save_reward_model

SHAPE = {"max_prompt_tokens": 40, "max_completion_tokens": 60, "batch_size": 4, "micro_batch_size": 2}
SHAPE |= {"checkpoint_every": 2, "learning_rate": 1e-3, "threads": 1}
EVERYTHING = {"kl_controller": "adaptive", "kl_horizon": 50, "keep": "best", "checkpoint_every": 2, "evaluate_every": 1}

Moment = tuple[str, int]  # ("step", 3): when step 3 is reported; ("os.rename", 2): at the second renaming

# 8 steps with a checkpoint at every second one, so each attempt gets further than its moment.
MOMENTS: list[Moment] = [
    ("step", 1),
    ("os.rename", 1),
    ("step", 2),
    ("step", 3),
    ("os.rename", 1),
    ("step", 5),
    ("shutil.rmtree", 1),
    ("step", 7),
    ("os.rename", 2),
]
# Two members of 4 steps, or trainings of 2: also while a model, an outcome, or the last checkpoints of one are moved.
MEMBERS: list[Moment] = [
    ("step", 1),
    ("os.rename", 1),
    ("step", 3),
    ("step", 4),  # the last of the first member
    ("os.rename", 1),  # its model
    ("os.rename", 2),  # its outcome
    ("shutil.rmtree", 1),  # its checkpoints, when all is kept
    ("step", 5),
    ("step", 7),
    ("os.rename", 3),  # the second one's outcome
]
FOLDS: list[Moment] = [
    ("step", 1),
    ("os.rename", 1),
    ("step", 2),  # the last of the first training
    ("os.rename", 1),  # its outcome
    ("shutil.rmtree", 1),
    ("step", 3),
    ("os.rename", 2),  # the second one's outcome
    ("step", 6),
    ("step", 9),
    ("step", 12),
]


def moments_of(name: str) -> list[Moment]:
    return {"reward-model-members": MEMBERS, "cross-validation": FOLDS}.get(name, MOMENTS)


def write_models(folder: Path) -> Path:
    """What the runs start from: a base with a reward model for it, and PPO's policy with two reward models."""
    save_base(folder / "base")
    torch.manual_seed(1)
    tokenizer = load_tokenizer(folder / "base")
    judge = new_reward_model(folder / "base", pad_token_id=tokenizer.pad_token_id)
    save_reward_model(judge, tokenizer, folder / "judge", card="")
    tiny_ppo.write_policy(folder / "policy")
    tiny_ppo.write_reward_model(folder / "reward")
    tiny_ppo.write_letter_counter(folder / "watch", scale=8.0)
    return folder


def places(folder: Path) -> dict[str, Path]:
    return {"out": folder / "out", "checkpoints": folder / "checkpoints"}


def train_sft(models: Path, folder: Path, on_step: OnStep, **changes: Any) -> None:
    config = SftConfig(**{**SHAPE, "epochs": 4, "dropout": 0.2, **changes})
    more = {"texts": tiny_ppo.texts(), "reward_model": models / "judge"} if config.pretraining_mix else {}
    sft.train(config, demonstrations(9, valid=2), on_step, base=models / "base", **places(folder), **more)


def train_reward_model(models: Path, folder: Path, on_step: OnStep, **changes: Any) -> None:
    config = RewardModelConfig(**{**SHAPE, "epochs": 4, **changes})
    given = {"base": models / "base", "demonstrations": demonstrations(3), **places(folder)}
    reward_model.train(config, rankings(9, valid=2), on_step, **given)


def cross_validate_labelers(models: Path, folder: Path, on_step: OnStep) -> None:
    config = CrossValidationConfig(seeds=2, **SHAPE)
    given = [replace(each, labeler=f"l{i % 3}") for i, each in enumerate(rankings(12, valid=3))]
    outcome = cross_validation.cross_validate(
        config, given, on_step, base=models / "base", checkpoints=folder / "checkpoints"
    )
    if outcome.finished:
        (folder / "table.json").write_text(json.dumps([outcome.metrics, outcome.report]))


def train_ppo(models: Path, folder: Path, on_step: OnStep, **changes: Any) -> None:
    ppo.train(
        tiny_ppo.ppo_config(**{**EVERYTHING, "episodes": 64, **changes}),
        tiny_ppo.prompts(),
        on_step,
        policy=models / "policy",
        reward_model=models / "reward",
        watch=models / "watch",
        texts=tiny_ppo.texts(),
        **places(folder),
    )


def train_dpo(models: Path, folder: Path, on_step: OnStep, **changes: Any) -> None:
    config = DpoConfig(**{**SHAPE, "epochs": 4, "evaluate_every": 3, **changes})
    dpo.train(config, rankings(9, valid=2), on_step, base=models / "base", **places(folder))


def train_rloo(models: Path, folder: Path, on_step: OnStep, **changes: Any) -> None:
    shape = SHAPE | {"max_prompt_tokens": 60, "max_completion_tokens": 8, "batch_size": 8, "minibatch_size": 4}
    settings = {"episodes": 64, "completions_per_prompt": 2, "inner_epochs": 2, "evaluate_every": 3}
    models_read = {part: models / part for part in ("policy", "watch")} | {"reward_model": models / "reward"}
    config = RlooConfig(**{**shape, **settings, **changes})
    rloo.train(config, tiny_ppo.prompts(), on_step, **models_read, **places(folder))


def sample(models: Path, folder: Path, on_step: OnStep, **changes: Any) -> None:
    config = SamplingConfig(**{"max_prompt_tokens": 60, "max_completion_tokens": 8, "batch_size": 1, "threads": 1,
                               **changes})  # fmt: skip
    given = {"model": models / "policy", "reward_model": models / "reward" if config.best_of > 1 else None}
    sampling.sample(config, tiny_ppo.prompts(8), on_step, checkpoints=folder, **given)


RUNS: dict[str, Callable[[Path, Path, OnStep], None]] = {
    "sft": train_sft,
    "sft-to-start-rl": lambda *at: train_sft(*at, pretraining_mix=0.25, epochs=3),
    "sft-lora": lambda *at: train_sft(*at, lora_rank=2),
    "reward-model": train_reward_model,
    "reward-model-lora": lambda *at: train_reward_model(*at, lora_rank=2),
    "reward-model-members": lambda *at: train_reward_model(*at, members=2, epochs=2),
    "cross-validation": cross_validate_labelers,
    "ppo": train_ppo,
    "ppo-lora": lambda *at: train_ppo(*at, lora_rank=2, episodes=48),
    "dpo": train_dpo,
    "dpo-lora": lambda *at: train_dpo(*at, lora_rank=2, loss="ipo"),
    "rloo": train_rloo,
    "rloo-lora": lambda *at: train_rloo(*at, lora_rank=2),
    "sampling": sample,
    "sampling-best-of": lambda *at: sample(*at, best_of=3),
}


def die_at(moment: Moment) -> OnStep:
    """Arms this process; returns the `on_step` that kills at a step."""
    event, count = moment
    seen = 0

    def hook(name: str, _args: object) -> None:
        nonlocal seen
        if name == event:
            seen += 1
            if seen == count:
                os.kill(os.getpid(), signal.SIGKILL)

    def on_step(step: Step) -> Signal:
        if event == "step" and step.number == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return Signal.CONTINUE

    sys.addaudithook(hook)
    return on_step


def attempt(name: str, models: Path, folder: Path, moment: Moment | None) -> int:
    """What ended the attempt: 0, or minus the signal."""
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        RUNS[name](models, folder, die_at(moment) if moment else lambda step: Signal.CONTINUE)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def left_behind(folder: Path) -> dict[str, bytes]:
    """Every byte that a run leaves but its card, where its pace stands: model, Adam, random states, best so far."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "README.md"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def each_moment(name: str, folder: Path) -> Iterator[tuple[Moment, str]]:
    """A run killed at each step, and one at each renaming; how each ended beside the run that never was killed."""
    models = write_models(folder / "models")
    steps: list[int] = []
    RUNS[name](models, folder / "whole", lambda step: (steps.append(step.number), Signal.CONTINUE)[1])
    whole = left_behind(folder / "whole")
    renamings = 0 if name.startswith("sampling") else 1 + len(steps) // 2
    for moment in [("step", n) for n in steps] + [("os.rename", n + 1) for n in range(renamings)]:
        own = folder / f"{moment[0]}-{moment[1]}"
        ends = attempt(name, models, own, moment), attempt(name, models, own, None)
        same = left_behind(own) == whole
        yield moment, "same" if same and ends == (-signal.SIGKILL, 0) else f"differs, ended by {ends}"


if __name__ == "__main__":
    given_name, given_folder = sys.argv[1], Path(sys.argv[2])
    if sys.argv[3:] == ["each"]:
        for given_moment, end in each_moment(given_name, given_folder):
            print(given_moment, end, flush=True)
    else:
        for each in [*moments_of(given_name), None]:
            print(each, attempt(given_name, given_folder.parent / "models", given_folder, each), flush=True)
