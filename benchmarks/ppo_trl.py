"""TRL's side of the PPO benchmark, run by the interpreter of an environment that has TRL 1.12: prints what it took."""

import json
import sys
import time

STARTED = time.perf_counter()

import resource  # noqa: E402
from itertools import pairwise  # noqa: E402
from pathlib import Path  # noqa: E402

import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainerCallback,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer  # noqa: E402

from benchmarks.ppo_world import COMPLETION, EPISODES, MINIBATCH, token_prompts  # noqa: E402


class Clock(TrainerCallback):
    """When the training began and each iteration ended, and what the processor had done by then."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.computed: list[float] = []

    def on_train_begin(self, *_: object, **__: object) -> None:
        self.at.append(time.perf_counter())
        self.computed.append(time.process_time())

    on_step_end = on_train_begin


def main(folder: Path, *, inner_epochs: int, ragged: bool, iterations: int, threads: int) -> dict[str, object]:
    torch.set_num_threads(threads)
    clock = Clock()
    config = PPOConfig(
        output_dir=str(folder / "trl"), report_to=[], disable_tqdm=True, save_strategy="no", bf16=False, use_cpu=True,
        gradient_checkpointing=False, seed=1, learning_rate=3e-6, total_episodes=EPISODES * iterations,
        # All of an iteration's episodes as one device batch: only then does this version take a step a minibatch.
        per_device_train_batch_size=EPISODES, gradient_accumulation_steps=1, num_mini_batches=EPISODES // MINIBATCH,
        num_ppo_epochs=inner_epochs, local_rollout_forward_batch_size=MINIBATCH, num_sample_generations=0,
        response_length=COMPLETION, stop_token="eos", temperature=1.0, missing_eos_penalty=1.0, kl_coef=0.05,  # noqa: S106
    )  # fmt: skip
    prompts = [{"input_ids": ids} for ids in token_prompts(EPISODES * iterations, ragged=ragged)]
    trainer = PPOTrainer(
        args=config,
        processing_class=AutoTokenizer.from_pretrained(folder / "policy"),
        model=AutoModelForCausalLM.from_pretrained(folder / "policy", dtype=torch.float32),
        ref_model=AutoModelForCausalLM.from_pretrained(folder / "policy", dtype=torch.float32),
        reward_model=_scorer(folder),
        value_model=_scorer(folder),
        train_dataset=Dataset.from_list(prompts),
        eval_dataset=Dataset.from_list(prompts[:1]),
        callbacks=[clock],
    )
    trainer.train()
    return {
        "start": clock.at[0] - STARTED,
        "iterations": [after - before for before, after in pairwise(clock.at)],
        "cpu": [after - before for before, after in pairwise(clock.computed)],
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "optimizer_steps": int(next(iter(trainer.optimizer.state.values()))["step"]),
    }


def _scorer(folder: Path) -> torch.nn.Module:
    return AutoModelForSequenceClassification.from_pretrained(folder / "reward", num_labels=1, dtype=torch.float32)


if __name__ == "__main__":
    print("RESULT", json.dumps(main(Path(sys.argv[1]), **json.loads(sys.argv[2]))))
