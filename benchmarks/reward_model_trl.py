"""TRL's side of `benchmarks.reward_model`: every pair of every ranking, without activation checkpointing."""

import itertools
import json
import resource
import sys
from pathlib import Path

import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from trl import RewardConfig, RewardTrainer

from benchmarks.trl_clock import Clock


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(task["threads"])
    tokenizer = AutoTokenizer.from_pretrained(task["base"])
    pairs = [
        {"prompt": row["prompt"] + " ", "chosen": f"{better} <|end|>", "rejected": f"{worse} <|end|>"}
        for row in task["rankings"]
        for better, worse in itertools.combinations(row["completions"], 2)
    ]
    each = len(pairs) // len(task["rankings"])
    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_pretrained(task["base"], num_labels=1, dtype=torch.float32)
    torch.nn.init.normal_(model.score.weight, std=(model.config.hidden_size + 1) ** -0.5)
    config = RewardConfig(
        output_dir=f"{task['place']}/trl", per_device_train_batch_size=each, num_train_epochs=task["steps"],
        gradient_accumulation_steps=len(task["rankings"]), gradient_checkpointing=False, bf16=False, use_cpu=True,
        learning_rate=1e-4, adam_beta2=0.95, logging_steps=1, save_strategy="no", report_to="none", seed=1,
        disable_tqdm=True, max_length=None, dataloader_pin_memory=False,
    )  # fmt: skip
    clock = Clock()
    trainer = RewardTrainer(model, config, train_dataset=Dataset.from_list(pairs), processing_class=tokenizer,
                            callbacks=[clock])  # fmt: skip
    trainer.train()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seconds = [end - begin for begin, end in zip(clock.begins, clock.ends, strict=True)]
    print(json.dumps({"seconds": seconds, "losses": clock.losses, "peak_mib": peak, "first_step_at": clock.begins[0]}))


if __name__ == "__main__":
    main()
