"""What the training tests share: one thread, and a tiny base model's folder. Without the `train` extra none runs."""

import importlib.util
from pathlib import Path

import pytest

if importlib.util.find_spec("torch") is None:
    collect_ignore_glob = ["*"]
else:
    import torch

    from tests.workers.tiny import save_base
    from workers.training.models import load_tokenizer


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of 2 layers and 32 dimensions with its tokenizer, as a folder."""
    return save_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture
def tokenizer(base: Path):
    return load_tokenizer(base)
