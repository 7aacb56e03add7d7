"""TRL's side of `benchmarks.sft`: its SFTTrainer on prompts and completions, without activation checkpointing."""

import json
import resource
import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from benchmarks.trl_clock import Clock


class Padding:
    """The share of what the model is given that is padding."""

    def __init__(self, collate: Any) -> None:
        self.collate, self.real, self.given = collate, 0, 0

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch = self.collate(examples)
        self.given += batch["input_ids"].numel()
        self.real += int(batch["attention_mask"].sum()) if "attention_mask" in batch else batch["input_ids"].numel()
        return batch


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(task["threads"])
    tokenizer = AutoTokenizer.from_pretrained(task["base"])
    model = AutoModelForCausalLM.from_pretrained(task["base"], dtype=torch.float32)
    rows = [{"prompt": row["prompt"] + " ", "completion": row["completion"] + f" {tokenizer.eos_token}"}
            for row in task["demonstrations"]]  # fmt: skip
    # A packed row holds several demonstrations: as many rows a step as make the same number of demonstrations.
    packed = task["options"].get("packing", False)
    config = SFTConfig(
        output_dir=f"{task['place']}/trl", num_train_epochs=2, gradient_checkpointing=False, bf16=False, use_cpu=True,
        per_device_train_batch_size=max(1, task["batch"] // 8) if packed else task["batch"], learning_rate=1e-4,
        adam_beta2=0.95, logging_steps=1, save_strategy="no", report_to="none", seed=1, disable_tqdm=True,
        dataloader_pin_memory=False, **task["options"],
    )  # fmt: skip
    clock = Clock()
    trainer = SFTTrainer(model, config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer,
                         callbacks=[clock])  # fmt: skip
    trainer.data_collator = padding = Padding(trainer.data_collator)
    trainer.train()
    half = len(clock.ends) // 2
    print(json.dumps({
        "seconds": clock.ends[-1] - clock.begins[half],
        "padding": 1 - padding.real / padding.given,
        "first_loss": sum(clock.losses[:2]) / 2,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "first_step_at": clock.begins[0],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
