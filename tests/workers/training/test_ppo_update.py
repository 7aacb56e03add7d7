"""Episodes and updates of PPO on tiny real models: what is measured is what is trained on."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from app.runs.ppo_config import PpoConfig
from tests.workers.training.tiny_ppo import collect, ppo_config, token_prompts, write_policy, write_reward_model
from workers.training import ppo_experience, ppo_update
from workers.training.adapters import lora_off
from workers.training.checkpoints import trainable
from workers.training.loop import TrainingFailed
from workers.training.models import load_policy, load_reward_model
from workers.training.ppo_experience import Experience, experience_metrics, repeated_share
from workers.training.ppo_networks import Networks, load_networks, other_weights, stack_rows
from workers.training.ppo_update import Sums, accumulate_gradients, add_text_gradient, new_trainee, update, warmup
from workers.training.rollout import Decoding, uniform_numbers

pytestmark = pytest.mark.train

PROMPTS = token_prompts([5, 1, 9, 14, 3, 7, 2, 6])
TEXTS = token_prompts([12, 5, 20, 8], seed=1)
EOS_IDS = frozenset(range(25))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("models")
    return write_policy(root / "policy"), write_reward_model(root / "reward")


@pytest.fixture
def networks(folders: tuple[Path, Path]) -> Networks:
    return load_networks(*folders, watch=None, lora_rank=0)


def play(networks: Networks, config: PpoConfig, *, kl_coefficient: float = 0.1) -> Experience:
    decoding = Decoding(max_new_tokens=10, eos_ids=EOS_IDS, temperature=config.temperature)
    uniforms = uniform_numbers(5, "play", shape=(len(PROMPTS), 1, 10))
    return collect(
        networks, PROMPTS, uniforms, config=config, decoding=decoding, kl_coefficient=kl_coefficient, eos_id=0
    )


def gradients(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def assert_close(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor], *, atol: float = 1e-6) -> None:
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert torch.allclose(tensor, right[name], atol=atol), name


def unlike(networks: Networks) -> Networks:
    """The same with a policy moved away from its reference, as after some steps."""
    torch.manual_seed(9)
    with torch.no_grad():
        for parameter in networks.policy.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return networks


@pytest.mark.parametrize("temperature", [1.0, 0.8])
def test_17_before_the_first_update_nothing_differs(networks: Networks, temperature: float) -> None:
    config = ppo_config(ptx_coefficient=0, temperature=temperature)
    experience = play(networks, config)
    metrics = experience_metrics(experience)
    numbers = accumulate_gradients(networks, experience, range(8), [], config=config)
    assert metrics["kl"] == pytest.approx(0, abs=1e-4)
    assert metrics["kl_k3"] == pytest.approx(0, abs=1e-6)
    assert numbers["approx_kl"] == pytest.approx(0, abs=1e-9)
    assert numbers["clip_fraction"] == 0
    rows = experience.rows(range(8))
    assert torch.allclose(
        networks.logprobs(rows, temperature=temperature), experience.logprobs[experience.mask], atol=1e-5
    )


def test_17_in_bfloat16_too_the_first_ratio_is_one(networks: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's arithmetic, here on the CPU: a decoding step rounds otherwise than a pass, so the pass is what counts."""
    for module in (ppo_experience, ppo_update):
        monkeypatch.setattr(module, "autocast", lambda _: torch.autocast("cpu", dtype=torch.bfloat16))
    config = ppo_config(precision="bf16", minibatch_size=8, micro_batch_size=8)
    experience = play(networks, config)
    numbers = accumulate_gradients(networks, experience, range(8), TEXTS, config=config)
    assert numbers["approx_kl"] == pytest.approx(0, abs=1e-7)
    assert experience_metrics(experience)["kl"] == pytest.approx(0, abs=1e-4)
    assert all(p.grad.dtype == torch.float32 for p in networks.policy.parameters())


def test_16_dropout_is_off_in_every_network(folders: tuple[Path, Path]) -> None:
    for rank in (0, 2):
        networks = load_networks(*folders, watch=folders[1], lora_rank=rank)
        owned = [networks.policy, networks.value, networks.reference, networks.reward, networks.watch]
        present = [network for network in owned if network is not None]
        assert len(present) == (3 if rank else 5)
        assert not any(module.training for network in present for module in network.modules())
    assert networks.policy.config.attention_dropout > 0
    first, second = (play(networks, ppo_config()) for _ in range(2))
    assert torch.equal(first.values, second.values)


def test_15_and_20_the_mask_ends_with_the_completion(networks: Networks) -> None:
    experience = play(networks, ppo_config())
    lengths = [len(tokens) for tokens in experience.completions]
    assert experience.mask.sum(dim=1).tolist() == lengths
    assert min(lengths) < 10 == max(lengths)
    ended = [tokens[-1] in EOS_IDS for tokens in experience.completions]
    assert experience.missing_eos.tolist() == [not end for end in ended]
    for tokens in (experience.logprobs, experience.values, experience.advantages, experience.returns):
        assert not tokens[~experience.mask].any()


def test_07_and_08_scores_and_values_are_those_of_each_conversation_alone(
    networks: Networks, folders: tuple[Path, Path]
) -> None:
    """The score is read at the end token the reward model was trained on, also where the completion was cut off."""
    experience, judge = play(networks, ppo_config(micro_batch_size=3)), load_reward_model(folders[1])
    assert experience.missing_eos.any()
    for i, (prompt, completion) in enumerate(zip(PROMPTS, experience.completions, strict=True)):
        said = completion if experience.missing_eos[i] else completion[:-1]
        whole, read = torch.tensor([[*prompt, *said, 0]]), torch.tensor([prompt + completion])
        with torch.no_grad():
            score = float(judge(whole, torch.ones_like(whole)))
            values = judge.token_scores(read, torch.ones_like(read))[0, len(prompt) - 1 : -1]
        assert float(experience.scores[i]) == pytest.approx(score, abs=1e-5)
        assert torch.allclose(experience.values[i, : len(completion)], values, atol=1e-5)


def test_18_returns_hold_the_score_less_the_kl_that_is_logged(networks: Networks) -> None:
    config = ppo_config(gae_lambda=1.0, missing_eos_penalty=0.7)
    experience = play(unlike(networks), config, kl_coefficient=0.3)
    kl = (experience.logprobs - experience.ref_logprobs).sum(dim=1)
    assert experience_metrics(experience)["kl"] == pytest.approx(float(kl.mean()), rel=1e-5)
    assert float(kl.abs().max()) > 0.01
    expected = experience.scores - 0.7 * experience.missing_eos.float() - 0.3 * kl
    assert torch.allclose(experience.returns[:, 0], expected, atol=1e-4)


def test_21_advantages_are_white_over_the_whole_iteration(networks: Networks) -> None:
    experience = play(networks, ppo_config(micro_batch_size=2))
    kept = experience.advantages[experience.mask]
    assert float(kept.mean()) == pytest.approx(0, abs=1e-5)
    assert float(kept.var(unbiased=False)) == pytest.approx(1, abs=1e-4)


def test_repetition_is_the_share_of_trigrams_said_before(networks: Networks) -> None:
    assert repeated_share([1, 2, 3, 1, 2, 3, 1]) == pytest.approx(2 / 5)
    assert repeated_share([7] * 6) == pytest.approx(3 / 4)
    assert repeated_share([1, 2, 3, 4]) == repeated_share([1, 1]) == repeated_share([]) == 0
    experience = play(networks, ppo_config())
    repeating = replace(experience, completions=[[5] * 10] * 8)
    assert experience_metrics(repeating)["repetition"] == pytest.approx(7 / 8)


def test_entropy_is_that_of_the_distributions_drawn_from(networks: Networks) -> None:
    """Estimated by the drawn tokens alone; here against the whole distributions, which are never kept in training."""
    found, exact = [], []
    for number in range(12):
        uniforms = uniform_numbers(number, "entropy", shape=(len(PROMPTS), 1, 10))
        decoding = Decoding(max_new_tokens=10, eos_ids=EOS_IDS)
        experience = collect(
            networks, PROMPTS, uniforms, config=ppo_config(), decoding=decoding, kl_coefficient=0, eos_id=0
        )
        found.append(experience_metrics(experience)["entropy"])
        rows = experience.rows(range(8))
        with torch.no_grad():
            whole = networks.policy(rows.ids).logits[rows.predicts].log_softmax(-1)
        exact.append(-float((whole.exp() * whole).sum(-1).mean()))
    assert sum(found) / 12 == pytest.approx(sum(exact) / 12, rel=0.05)


@pytest.mark.parametrize("micro", [1, 2, 3])
def test_23_micro_batches_change_no_gradient(networks: Networks, micro: int) -> None:
    config = ppo_config(minibatch_size=8, micro_batch_size=8)
    experience = play(unlike(networks), config)
    whole_numbers = accumulate_gradients(networks, experience, range(8), TEXTS, config=config)
    whole_policy, whole_value = gradients(networks.policy), gradients(networks.value)
    pieces = config.model_copy(update={"micro_batch_size": micro})
    numbers = accumulate_gradients(networks, experience, range(8), TEXTS, config=pieces)
    assert_close(gradients(networks.policy), whole_policy, atol=2e-5)
    assert_close(gradients(networks.value), whole_value)
    assert numbers == pytest.approx(whole_numbers, abs=1e-5)


def test_activation_checkpointing_computes_layers_twice_and_changes_no_step(folders: tuple[Path, Path]) -> None:
    after, passes = [], []
    for again in (False, True):
        networks = load_networks(*folders, watch=None, lora_rank=0)
        config = ppo_config(activation_checkpointing=again, minibatch_size=4)
        trainee, count = new_trainee(networks, config=config), 0
        for _ in range(2):  # episodes are drawn with a cache of keys and values, which must work on
            experience, seen = play(networks, config), []
            for body in (networks.policy.model, networks.value.body):
                body.layers[0].mlp.register_forward_pre_hook(lambda *_, seen=seen: seen.append(1))
            update(trainee, experience, [range(8)], [TEXTS] * 2, config=config, lr_factor=1)
            count += len(seen)
        after.append(trainable(networks.policy) | trainable(networks.value))
        passes.append(count)
    assert_close(*after, atol=0)
    assert passes[1] == 2 * passes[0]


def test_23_a_minibatchs_losses_are_means_over_its_own_tokens(networks: Networks) -> None:
    config = ppo_config(micro_batch_size=2)
    experience = play(networks, config)
    some = [6, 0, 3]
    numbers = accumulate_gradients(networks, experience, some, [], config=config)
    advantages, mask = experience.advantages[some], experience.mask[some]
    errors = (experience.values - experience.returns)[some][mask] ** 2
    assert numbers["policy_loss"] == pytest.approx(-float(advantages[mask].mean()), abs=1e-5)
    assert numbers["value_loss"] == pytest.approx(float(errors.mean()) / 2, rel=1e-4)


@pytest.mark.parametrize(("inner_epochs", "minibatch", "micro"), [(1, 8, 1), (2, 4, 3), (3, 2, 2)])
def test_23_exactly_epochs_times_minibatches_steps(
    networks: Networks, inner_epochs: int, minibatch: int, micro: int
) -> None:
    config = ppo_config(minibatch_size=minibatch, micro_batch_size=micro, inner_epochs=inner_epochs)
    trainee = new_trainee(networks, config=config)
    orders, n = [list(range(8))] * inner_epochs, inner_epochs * 8 // minibatch
    update(trainee, play(networks, config), orders, [TEXTS] * n, config=config, lr_factor=1.0)
    assert trainee.steps == n
    for optimizer in (trainee.policy_optimizer, trainee.value_optimizer):
        assert {int(state["step"]) for state in optimizer.state.values()} == {n}


def test_25_only_policy_and_value_move(networks: Networks, folders: tuple[Path, Path]) -> None:
    config = ppo_config(minibatch_size=4)
    judge, initial = load_reward_model(folders[1]), load_policy(folders[0])
    assert networks.value.bias == judge.bias == 0.5
    assert_close(trainable(networks.value), trainable(judge), atol=0)
    update(
        new_trainee(networks, config=config),
        play(networks, config),
        [range(8)],
        [TEXTS] * 2,
        config=config,
        lr_factor=1,
    )
    assert_close(dict(networks.reference.named_parameters()), dict(initial.named_parameters()), atol=0)
    assert_close(dict(networks.reward.named_parameters()), dict(judge.named_parameters()), atol=0)
    for moved, start in ((networks.policy, initial), (networks.value, judge)):
        assert any(not torch.equal(p, q) for p, q in zip(moved.parameters(), start.parameters(), strict=True))


def test_27_text_gradient_is_added_to_the_same_buffer(networks: Networks) -> None:
    config = ppo_config(ptx_coefficient=27.8, minibatch_size=8, micro_batch_size=3)
    experience = play(unlike(networks), config)
    accumulate_gradients(networks, experience, range(8), [], config=config)
    plain = gradients(networks.policy)
    networks.policy.zero_grad()
    add_text_gradient(networks, TEXTS, Sums(), config=config.model_copy(update={"ptx_coefficient": 1.0}))
    text = gradients(networks.policy)
    accumulate_gradients(networks, experience, range(8), TEXTS, config=config)
    both = gradients(networks.policy)
    assert_close(both, {name: plain[name] + 27.8 * text[name] for name in plain}, atol=1e-4)
    assert max(float(g.abs().max()) for g in text.values()) > 1e-3


def test_27_text_gradient_is_that_of_the_mean_over_tokens(networks: Networks) -> None:
    config = ppo_config(ptx_coefficient=1.0, micro_batch_size=2)
    sums = Sums()
    add_text_gradient(networks, TEXTS, sums, config=config)
    added = gradients(networks.policy)
    networks.policy.zero_grad()
    losses = []
    for text in TEXTS:
        logits = networks.policy(torch.tensor([text])).logits[0, :-1]
        losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor(text[1:]), reduction="none"))
    mean = torch.cat(losses).mean()
    mean.backward()
    assert_close(added, gradients(networks.policy), atol=1e-5)
    assert sums.totals["ptx_loss"] == pytest.approx(float(mean.detach()), rel=1e-5)


def test_27_without_texts_the_step_is_plain_ppo(folders: tuple[Path, Path]) -> None:
    after = []
    for coefficient in (0.0, 27.8):
        networks = load_networks(*folders, watch=None, lora_rank=0)
        config = ppo_config(ptx_coefficient=coefficient, minibatch_size=8)
        update(
            new_trainee(networks, config=config), play(networks, config), [range(8)], [[]], config=config, lr_factor=1
        )
        after.append(trainable(networks.policy))
    assert_close(*after, atol=0)


def test_28_lora_off_is_the_reference_bit_for_bit(folders: tuple[Path, Path]) -> None:
    networks = load_networks(*folders, watch=None, lora_rank=2)
    base = load_policy(folders[0])
    config = ppo_config(minibatch_size=4, learning_rate=1e-2, value_learning_rate=1e-2)
    trainee = new_trainee(networks, config=config)
    before = play(networks, config)
    rows = stack_rows(PROMPTS, before.completions, device=torch.device("cpu"))
    scores = networks.scores(rows)
    for _ in range(2):
        update(trainee, play(networks, config), [range(8)], [TEXTS] * 2, config=config, lr_factor=1)
    with torch.no_grad():
        with lora_off(networks.policy):
            off = networks.policy(rows.ids).logits
        on = networks.policy(rows.ids).logits
        assert torch.equal(off, base(rows.ids).logits)
    assert not torch.equal(on, off)
    assert torch.allclose(networks.scores(rows), scores, atol=1e-5)
    assert not torch.allclose(networks.values(rows), before.values[before.mask], atol=1e-3)
    assert any("lora" in name and p.requires_grad for name, p in networks.policy.named_parameters())
    assert all("lora" in name for name in trainable(networks.policy))


def test_29_what_is_not_a_number_is_refused_before_any_weight_takes_it(networks: Networks) -> None:
    config = ppo_config(minibatch_size=8)
    experience = play(networks, config)
    broken = replace(experience, advantages=experience.advantages * torch.nan)
    before = {name: p.clone() for name, p in trainable(networks.policy).items()}
    trainee = new_trainee(networks, config=config)
    with pytest.raises(TrainingFailed, match="Step 1: the loss is nan"):
        update(trainee, broken, [range(8)], [TEXTS], config=config, lr_factor=1)
    assert_close(trainable(networks.policy), before, atol=0)


def test_29_neither_network_moves_where_the_others_gradient_is_not_a_number(networks: Networks) -> None:
    config = ppo_config(minibatch_size=8)
    trainee = new_trainee(networks, config=config)
    before = {name: p.clone() for name, p in trainable(networks.policy).items()}
    last = next(p for p in networks.value.parameters() if p.requires_grad)
    last.register_hook(lambda gradient: gradient * torch.nan)  # the losses themselves are finite
    with pytest.raises(TrainingFailed, match=r"Step 1: the loss is [-0-9.e]+ and the gradient's length nan"):
        update(trainee, play(networks, config), [range(8)], [TEXTS], config=config, lr_factor=1)
    assert_close(trainable(networks.policy), before, atol=0)


def test_29_ema_moves_after_every_step_as_its_decay_says(networks: Networks) -> None:
    config = ppo_config(minibatch_size=8, ema=0.9)
    trainee = new_trainee(networks, config=config)
    expected = {name: p.clone() for name, p in trainable(networks.policy).items()}
    for _ in range(2):
        update(trainee, play(networks, config), [range(8)], [TEXTS], config=config, lr_factor=1)
        expected = {name: 0.9 * p + 0.1 * trainable(networks.policy)[name] for name, p in expected.items()}
    assert_close(trainee.ema, expected)


def test_other_weights_go_in_and_out_without_a_trace(networks: Networks) -> None:
    own = {name: p.clone() for name, p in trainable(networks.policy).items()}
    other = {name: torch.zeros_like(p) for name, p in own.items()}
    with other_weights(networks.policy, other):
        assert not any(p.any() for p in networks.policy.parameters())
    assert_close(trainable(networks.policy), own, atol=0)


def test_learning_rate_warms_up_from_a_tenth_over_ten_iterations() -> None:
    factors = [warmup(i, over=10, start=0.1) for i in range(12)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[5] == pytest.approx(0.55)
    assert factors[10] == factors[11] == 1.0
    assert warmup(0, over=0, start=0.1) == 1.0
