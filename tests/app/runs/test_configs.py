"""The runs' configs: the paper's values by default, help on every field, bounds that hold."""

import pytest
from pydantic import ValidationError

from app.runs.configs import RewardModelConfig, RunKind, SamplingConfig, SftConfig
from app.runs.kinds import CONFIGS
from app.runs.ppo_config import PpoConfig
from app.runs.presets import section_of


@pytest.mark.parametrize("kind", RunKind)
def test_every_field_has_a_default_one_line_of_help_and_the_papers_word(kind: RunKind) -> None:
    for name, field in CONFIGS[kind].model_fields.items():
        assert not field.is_required(), name
        assert field.description, name
        assert field.description.endswith("."), name
        assert "\n" not in field.description, name
        assert isinstance(field.json_schema_extra, dict), name
        assert field.json_schema_extra["paper"], name


@pytest.mark.parametrize("kind", RunKind)
def test_every_number_has_a_lower_and_an_upper_bound(kind: RunKind) -> None:
    properties = CONFIGS[kind].model_json_schema()["properties"]
    for name, schema in properties.items():
        if schema["type"] in ("integer", "number"):
            assert {"minimum", "exclusiveMinimum"} & schema.keys(), name
            assert {"maximum", "exclusiveMaximum"} & schema.keys(), name


def test_a_setting_is_the_papers_where_it_names_the_section_and_else_ours() -> None:
    sections = {name: section_of(info) for name, info in PpoConfig.model_fields.items()}
    assert (sections["batch_size"], sections["kl_estimator"], sections["adam_beta2"]) == ("C.4", "3.5", "App. C")
    assert [sections[name] for name in ("seed", "gae_lambda", "learning_rate", "missing_eos_penalty")] == [None] * 4
    assert section_of(SftConfig.model_fields["learning_rate"]) == "C.1", "9.65e-6 and 5.03e-6 are no sections"


def test_the_papers_values() -> None:
    sft, reward_model, ppo = SftConfig(), RewardModelConfig(), PpoConfig()
    assert (sft.epochs, sft.dropout, sft.learning_rate, sft.batch_size) == (16, 0.2, 9.65e-6, 32)  # C.1
    assert (sft.adam_beta1, sft.adam_beta2, sft.final_learning_rate, sft.pretraining_mix) == (0.9, 0.95, 0.1, 0)  # C.1
    assert (sft.max_prompt_tokens, sft.max_completion_tokens) == (1000, 1000)  # App. C
    assert (reward_model.epochs, reward_model.learning_rate, reward_model.batch_size) == (1, 9e-6, 64)  # C.2
    assert (ppo.kl_coefficient, ppo.ptx_coefficient, ppo.ptx_ratio, ppo.ema) == (0.02, 27.8, 8, 0.992)  # C.4
    assert (ppo.batch_size, ppo.minibatch_size, ppo.inner_epochs, ppo.episodes) == (512, 64, 1, 256_000)  # C.4
    assert (ppo.clip_range, ppo.value_learning_rate, ppo.temperature, ppo.gamma) == (0.2, 9e-6, 1, 1)  # C.4
    assert (ppo.warmup_iterations, ppo.warmup_start, ppo.kl_controller) == (10, 0.1, "fixed")  # C.4


@pytest.mark.parametrize(
    ("kind", "wrong", "said"),
    [
        (RunKind.sft, {"epochs": 0}, "greater than or equal to 1"),
        (RunKind.sft, {"learning_rate": 0}, "greater than 0"),
        (RunKind.sft, {"dropout": 1.0}, "less than 1"),
        (RunKind.sft, {"learning_rat": 1e-5}, "Extra inputs are not permitted"),
        (RunKind.sft, {"micro_batch_size": 64}, "micro_batch_size 64 is larger than batch_size 32"),
        (RunKind.sft, {"processes": 64}, "processes 64 are more than batch_size 32"),
        (RunKind.sft, {"sharded": True}, "it needs 2 or more"),
        (RunKind.sft, {"sharded": True, "processes": 2, "lora_rank": 4}, "and lora_rank 0"),
        (RunKind.reward_model, {"learning_rate": float("nan")}, "less than or equal to 1"),
        (RunKind.ppo, {"minibatch_size": 100}, "batch_size 512 is not a multiple of minibatch_size 100"),
        (RunKind.ppo, {"micro_batch_size": 128}, "micro_batch_size 128 is larger than minibatch_size 64"),
        (RunKind.ppo, {"episodes": 100}, "episodes 100 are fewer than one batch_size 512"),
        (RunKind.ppo, {"kl_controller": "loose"}, "'fixed' or 'adaptive'"),
        (RunKind.ppo, {"sampling_workers": 513}, "sampling_workers 513 are more than batch_size 512"),
        (RunKind.ppo, {"max_staleness": 1}, "max_staleness is for sampling_workers"),
        (RunKind.dpo, {"loss": "ipo", "label_smoothing": 0.1}, "loss ipo knows no label_smoothing"),
        (RunKind.dpo, {"label_smoothing": 0.5}, "less than 0.5"),
        (RunKind.rloo, {"completions_per_prompt": 3}, "minibatch_size 64 is not a multiple of completions_per_prompt"),
        (RunKind.rloo, {"completions_per_prompt": 1}, "greater than or equal to 2"),
        (RunKind.sampling, {"completions_per_prompt": 10}, "less than or equal to 9"),
        (RunKind.sampling, {"top_p": 0}, "greater than 0"),
    ],
)
def test_wrong_values_are_refused_in_words(kind: RunKind, wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        CONFIGS[kind].model_validate(wrong)


def test_sampling_asks_for_4_to_9_completions_by_default_4() -> None:
    assert SamplingConfig().completions_per_prompt == 4
