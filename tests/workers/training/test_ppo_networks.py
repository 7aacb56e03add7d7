"""PPO's networks: an ensemble's scores, and what adapters let them share."""

from pathlib import Path

import pytest
import torch

from app.runs.ppo_config import PpoConfig
from tests.workers.training.test_ppo_update import PROMPTS, TEXTS, play
from tests.workers.training.tiny_ppo import ppo_config, tiny_tokenizer, write_policy, write_reward_model
from workers.training.adapters import add_lora, lora_off
from workers.training.checkpoints import trainable
from workers.training.models import load_policy, load_reward_model, new_reward_model, save_reward_model
from workers.training.ppo_networks import Networks, Rows, load_networks, stack_rows
from workers.training.ppo_update import new_trainee, update

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    write_policy(root / "policy")
    for number in range(3):
        write_reward_model(root / f"reward-{number}", seed=number + 1, bias=0.1 * number)
    for number in range(2):
        write_adapted(root / f"adapted-{number}", root / "policy", seed=number)
    return root


def write_adapted(folder: Path, base: Path, *, seed: int) -> None:
    """A reward model as a LoRA run with merge_lora off saves it."""
    torch.manual_seed(seed)
    model = new_reward_model(base, pad_token_id=1)
    add_lora(model, 3)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    save_reward_model(model, tiny_tokenizer(), folder, card="")


def rows_of(networks: Networks) -> Rows:
    return stack_rows(PROMPTS, play(networks, ppo_config()).completions, device=torch.device("cpu"))


def learn(networks: Networks, config: PpoConfig) -> None:
    update(new_trainee(networks, config=config), play(networks, config), [range(8)], [TEXTS] * 2, config=config,
           lr_factor=1)  # fmt: skip


def frozen_numbers(networks: Networks) -> int:
    """How many numbers of matrices there are that do not train, those in the same memory counted once."""
    modules = [networks.policy, networks.value, networks.reference, networks.reward, networks.watch, *networks.others]
    every = [p for module in modules if module is not None for p in module.parameters()]
    kept = {p.data_ptr(): p.numel() for p in every if p.ndim == 2 and not p.requires_grad}
    return sum(kept.values())


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_an_ensembles_scores_are_those_of_its_members(folders: Path, lora_rank: int) -> None:
    members = [folders / f"reward-{number}" for number in range(3)]
    networks = load_networks(folders / "policy", members[0], watch=None, others=members[1:], lora_rank=lora_rank)
    rows = rows_of(networks)
    scores = networks.scores(rows)
    assert scores.shape == (3, len(PROMPTS))
    for member, own in zip(members, scores, strict=True):
        with torch.no_grad():
            mask = (torch.arange(rows.ids.shape[1]) <= rows.last[:, None]).long()
            torch.testing.assert_close(own, load_reward_model(member)(rows.ids, mask), rtol=0, atol=1e-5)


@pytest.mark.parametrize("how", ["mean", "min", "mean_minus_variance"])
def test_episodes_are_paid_what_the_ensemble_says(folders: Path, how: str) -> None:
    others = [folders / "reward-1", folders / "reward-2"]
    networks = load_networks(folders / "policy", folders / "reward-0", watch=None, others=others, lora_rank=0)
    config = ppo_config(ensemble=how, ensemble_penalty=0.3, missing_eos_penalty=0)
    experience = play(networks, config)
    judged = [c[:-1] if not cut else c for c, cut in zip(experience.completions, experience.missing_eos, strict=True)]
    whole = stack_rows(PROMPTS, [[*tokens, 0] for tokens in judged], device=torch.device("cpu"))
    each = networks.scores(whole)
    expected = {
        "mean": each.mean(0),
        "min": each.amin(0),
        "mean_minus_variance": each.mean(0) - 0.3 * each.var(0, unbiased=False),
    }
    torch.testing.assert_close(experience.scores, expected[how], rtol=0, atol=1e-5)
    torch.testing.assert_close(experience.spread, each.std(0, unbiased=False), rtol=0, atol=1e-5)
    assert not torch.allclose(expected["mean"], expected[how]) or how == "mean"


def matrices(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.ndim == 2)


def test_28_all_are_adapters_and_heads_on_the_same_weights(folders: Path) -> None:
    networks = load_networks(folders / "policy", folders / "adapted-0", watch=folders / "adapted-1", lora_rank=2)
    named = [each for judge in (networks.reward, networks.watch) for each in judge.named_parameters()]
    own = sum(p.numel() for name, p in named if "lora" in name or "score" in name)
    assert frozen_numbers(networks) == matrices(load_policy(folders / "policy")) + own
    assert networks.reference is None
    assert all("lora" in name for name in trainable(networks.policy))
    assert all("lora" in name or "score" in name for name in trainable(networks.value))
    assert {p.shape[0] for name, p in trainable(networks.value).items() if "lora_A" in name} == {3}, "its own rank"


def test_28_on_shared_weights_value_starts_as_the_reward_model_and_alone_moves(folders: Path) -> None:
    networks = load_networks(folders / "policy", folders / "adapted-0", watch=None, lora_rank=2)
    base, judge = load_policy(folders / "policy"), load_reward_model(folders / "adapted-0")
    rows = rows_of(networks)
    mask = (torch.arange(rows.ids.shape[1]) <= rows.last[:, None]).long()
    with torch.no_grad():
        scores, first = networks.scores(rows), networks.values(rows)
        torch.testing.assert_close(scores[0], judge(rows.ids, mask), rtol=0, atol=1e-5)
        torch.testing.assert_close(first, judge.token_scores(rows.ids, mask)[rows.predicts], rtol=0, atol=1e-5)
    learn(networks, ppo_config(minibatch_size=4, learning_rate=1e-2, value_learning_rate=1e-2))
    with torch.no_grad():
        assert torch.equal(networks.scores(rows), scores)
        assert not torch.allclose(networks.values(rows), first, atol=1e-3)
        with lora_off(networks.policy):
            assert torch.equal(networks.policy(rows.ids).logits, base(rows.ids).logits)
        assert not torch.equal(networks.policy(rows.ids).logits, base(rows.ids).logits)


def test_a_merged_reward_model_keeps_its_own_weights_which_value_shares(folders: Path) -> None:
    networks = load_networks(folders / "policy", folders / "reward-0", watch=None, lora_rank=2)
    assert networks.reward is None
    judge = load_reward_model(folders / "reward-0").body
    assert frozen_numbers(networks) == matrices(load_policy(folders / "policy")) + matrices(judge)


def test_without_adapters_an_unmerged_reward_model_is_merged(folders: Path) -> None:
    networks = load_networks(folders / "policy", folders / "adapted-0", watch=None, lora_rank=0)
    assert not any("lora" in name for name, _ in networks.value.named_parameters())
    assert all(p.requires_grad for p in networks.value.parameters())
    rows = rows_of(networks)
    adapted = load_networks(folders / "policy", folders / "adapted-0", watch=None, lora_rank=2)
    torch.testing.assert_close(networks.scores(rows), adapted.scores(rows), rtol=0, atol=1e-5)
