"""TRL's trainers on files as they were downloaded: `python trl_reads.py BASE FOLDER`, a few steps of each."""

import json
import sys
from pathlib import Path

from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

STEPS = 3


def main() -> None:
    base, folder = sys.argv[1], Path(sys.argv[2])
    losses = {}
    for file in sorted(folder.iterdir()):
        builder = {".jsonl": "json", ".parquet": "parquet"}[file.suffix]
        rows = load_dataset(builder, data_files=str(file), cache_dir=str(folder / ".." / "cache"))["train"]
        tokenizer = AutoTokenizer.from_pretrained(base)
        shared = {
            "per_device_train_batch_size": 2, "max_steps": STEPS, "use_cpu": True, "bf16": False, "report_to": "none",
            "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1, "output_dir": f"{folder}/../out",
            "gradient_checkpointing": False, "dataloader_pin_memory": False,
        }  # fmt: skip
        for name in ("sft",) if file.name.startswith("demonstrations") else ("reward", "dpo"):
            if name == "reward":
                model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
                trainer = RewardTrainer(model, RewardConfig(**shared), train_dataset=rows, processing_class=tokenizer)
            elif name == "dpo":
                model = AutoModelForCausalLM.from_pretrained(base)
                trainer = DPOTrainer(model, None, DPOConfig(**shared), train_dataset=rows, processing_class=tokenizer)
            else:
                model = AutoModelForCausalLM.from_pretrained(base)
                trainer = SFTTrainer(model, SFTConfig(**shared), train_dataset=rows, processing_class=tokenizer)
            trainer.train()
            losses[f"{name} {file.name}"] = [each["loss"] for each in trainer.state.log_history if "loss" in each]
    print(json.dumps(losses))


if __name__ == "__main__":
    main()
