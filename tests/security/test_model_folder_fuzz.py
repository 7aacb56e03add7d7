"""A model's folder as somebody sends it: whatever stands in its files, it is refused by the one error that says so."""

import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
from tests.security.test_upload_fuzz import VALUES
from workers.training.loop import CannotTrain
from workers.training.models import check_causal_lm, check_classifier

pytestmark = pytest.mark.train
CONFIGS = VALUES | st.fixed_dictionaries(
    {"model_type": st.sampled_from(["gpt2", "llama", "bert"])},
    optional={"auto_map": VALUES, "vocab_size": VALUES, "architectures": VALUES, "num_hidden_layers": VALUES,
              "quantization_config": VALUES, "eos_token_id": VALUES, "torch_dtype": VALUES},
)  # fmt: skip
TENSORS = st.binary(max_size=40) | st.binary(max_size=9).map(lambda rest: len(rest).to_bytes(8, "little") + rest)


def tried(count: int) -> None:
    @settings(max_examples=count, database=None)
    @given(CONFIGS.map(json.dumps) | st.text(max_size=10) | st.just("[" * 100_000), TENSORS, VALUES)
    def _check(config: str, tensors: bytes, tokenizer: Any) -> None:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            (folder / "config.json").write_text(config, errors="replace")
            (folder / "model.safetensors").write_bytes(tensors)
            (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
            for check in (check_causal_lm, check_classifier):
                with contextlib.suppress(CannotTrain):
                    check(folder)

    _check()


def test_a_folder_is_refused_in_words() -> None:
    tried(15)


@pytest.mark.prove
def test_a_folder_is_refused_in_words_whatever_is_in_it() -> None:
    tried(1500)
