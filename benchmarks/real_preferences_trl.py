"""TRL's side of `tests/prove/test_real_preferences.py`: its RewardTrainer on pairs that are tokens already."""

import json
import sys
import time
from pathlib import Path

import torch
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from trl import RewardConfig, RewardTrainer

from benchmarks.trl_clock import Clock


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    began, worked = time.perf_counter(), time.process_time()
    torch.set_num_threads(task["threads"])
    tokenizer = AutoTokenizer.from_pretrained(task["start"])
    model = AutoModelForSequenceClassification.from_pretrained(task["start"], num_labels=1, dtype=torch.float32)
    config = RewardConfig(
        output_dir=f"{task['out']}-working", per_device_train_batch_size=task["pairs_at_once"],
        gradient_accumulation_steps=task["times"], num_train_epochs=task["epochs"], seed=task["seed"],
        learning_rate=task["learning_rate"], lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": task["final_learning_rate"]}, adam_beta2=task["adam_beta2"],
        weight_decay=0.0, max_grad_norm=task["max_grad_norm"], max_length=None, gradient_checkpointing=False,
        bf16=False, use_cpu=True, save_strategy="no", report_to="none", disable_tqdm=True, dataloader_pin_memory=False,
    )  # fmt: skip
    clock = Clock()
    trainer = RewardTrainer(model, config, train_dataset=Dataset.from_list(task["pairs"]), processing_class=tokenizer,
                            callbacks=[clock])  # fmt: skip
    trainer.train()
    trainer.save_model(task["out"])
    print(json.dumps({
        "pairs": len(trainer.train_dataset) * task["epochs"],
        "steps": len(clock.ends),
        "wall": time.perf_counter() - began,
        "cpu": time.process_time() - worked,
        "first_step_at": clock.begins[0],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
