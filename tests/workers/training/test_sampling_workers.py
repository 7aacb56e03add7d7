"""PPO whose episodes others draw: whoever draws them, dies or answers wrongly, the run ends as its settings say."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from app.datasets.examples import Prompt
from app.runs.ppo_config import PpoConfig
from tests.workers.training.test_ppo import assert_same_end, saved, timeless
from tests.workers.training.tiny_ppo import Steps, ppo_config, prompts, texts, write_policy, write_reward_model
from workers.training import ppo
from workers.training.loop import CannotTrain, Outcome, Signal, Step
from workers.training.ppo_experience import as_experience, staleness
from workers.training.ppo_networks import load_networks
from workers.training.ppo_shares import PROMPTS, Sampler, Share, packed, read_prompts, unpacked, visited
from workers.training.sampling_workers import Desk, Word

pytestmark = pytest.mark.train

CLOSE = 1e-5  # of runs that draw in other batches: sums in another order


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    write_policy(root / "policy")
    write_reward_model(root / "reward")
    return root


class Killed(BaseException):
    """Ends a run on the spot, with nothing of it saved after the last checkpoint."""


class DiesAt(Steps):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def __call__(self, step: Step) -> Signal:
        signal = super().__call__(step)
        if step.number == self.number:
            raise Killed
        return signal


class WorkerHere(Desk):
    """A sampling worker in this process: it draws a share when the trainer comes to look for it."""

    def __init__(self, config: PpoConfig, models: Path, folder: Path) -> None:
        self.config, self.policy, self.folder = config, models / "policy", folder
        self.sampler: Sampler | None = None
        self.asked: list[Share] = []
        self.files: list[set[str]] = []  # after each time that something was put out

    def put_out(self, files: list[str]) -> None:
        assert all((self.folder / file).is_file() for file in files)
        self.files.append({file.name for file in self.folder.iterdir()})

    def ask(self, share: Share) -> None:
        self.asked.append(share)

    def look(self, share: Share) -> Word:
        (self.folder / share.answer).write_bytes(self.draw(share))
        return Word.DRAWN

    def draw(self, share: Share) -> bytes:
        with torch.random.fork_rng():  # elsewhere it has a process of its own
            self.sampler = self.sampler or Sampler(self.config, self.policy, read_prompts(self.folder / PROMPTS))
            self.sampler.take_on(share.version, self.folder / share.weights)
            return self.sampler.draw(share)


class NobodyHere(WorkerHere):
    def look(self, share: Share) -> Word:
        return Word.YOURS


def run(
    models: Path, folder: Path, steps: Steps | None = None, *, desk: type[WorkerHere] = WorkerHere, **changes: object
) -> tuple[Outcome, Steps, WorkerHere]:
    config, steps = ppo_config(**changes), Steps() if steps is None else steps
    worker = desk(config, models, folder / "rollouts")
    outcome = ppo.train(
        config, prompts(), steps, policy=models / "policy", reward_model=models / "reward", out=folder / "out",
        checkpoints=folder / "checkpoints", texts=texts(), rollouts=worker.folder, desk=worker,
    )  # fmt: skip
    return outcome, steps, worker


def figures(steps: Steps) -> list[dict[str, float]]:
    return [timeless(step.metrics) for step in steps]


@pytest.fixture(scope="module")
def own(models: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Steps]:
    """A run of four iterations that draws its episodes itself."""
    folder = tmp_path_factory.mktemp("own")
    return folder, run(models, folder)[1]


@pytest.fixture(scope="module")
def stale(models: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Steps, WorkerHere]:
    """Six iterations, drawn up to two ahead."""
    folder = tmp_path_factory.mktemp("stale")
    return folder, *run(models, folder, **STALE)[1:]


STALE = {"sampling_workers": 2, "max_staleness": 2, "episodes": 48}


def test_what_one_worker_draws_makes_the_run_that_draws_itself_bit_for_bit(
    models: Path, own: tuple[Path, Steps], tmp_path: Path
) -> None:
    _, steps, worker = run(models, tmp_path, sampling_workers=1)
    assert [(share.iteration, share.number, share.drawn_by) for share in worker.asked] == [(i, 0, i) for i in range(4)]
    assert figures(steps) == figures(own[1])
    assert_same_end(tmp_path, own[0])


def test_in_several_shares_only_the_order_of_sums_differs(
    models: Path, own: tuple[Path, Steps], tmp_path: Path
) -> None:
    _, steps, worker = run(models, tmp_path, sampling_workers=3)  # of 8 episodes: 3, 3 and 2
    assert len(worker.asked) == 12
    for ours, theirs in zip(figures(steps), figures(own[1]), strict=True):
        assert ours == pytest.approx(theirs, abs=CLOSE, rel=CLOSE)
    left, right = (load_file(folder / "out" / "model.safetensors") for folder in (tmp_path, own[0]))
    assert max(float((left[name] - right[name]).abs().max()) for name in right) < CLOSE


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_a_share_that_nobody_draws_is_drawn_by_the_trainer_to_the_same_end(
    models: Path, tmp_path: Path, lora_rank: int
) -> None:
    settings = STALE | {"episodes": 24, "max_staleness": 1, "lora_rank": lora_rank}
    run(models, tmp_path / "workers", **settings)
    run(models, tmp_path / "alone", desk=NobodyHere, **settings)
    assert_same_end(tmp_path / "alone", tmp_path / "workers")


def test_no_episode_is_older_than_the_bound_and_metrics_say_how_old(stale: tuple[Path, Steps, WorkerHere]) -> None:
    _, steps, worker = stale
    drawn_by = [(share.iteration, share.drawn_by) for share in worker.asked if share.number == 0]
    assert drawn_by == [(0, 0), (1, 0), (2, 0), (3, 1), (4, 2), (5, 3)], "asked ahead, as soon as the bound allows"
    seen = [(step.metrics["staleness"], step.metrics["staleness_max"]) for step in steps]
    assert seen == [(0, 0), (1, 1), (2, 2), (2, 2), (2, 2), (2, 2)]


def test_staleness_is_counted_over_episodes(models: Path) -> None:
    networks = load_networks(models / "policy", models / "reward", watch=None, lora_rank=0)
    config = ppo_config(sampling_workers=2)
    drawn = [worker_draws(models, config, number) for number in (0, 1)]
    episodes = [each for pair in zip(*drawn, strict=True) for each in pair]
    batch = visited(config, token_ids(models), 0)
    experience = as_experience(
        networks, batch, episodes, [7, 7, 7, 7, 9, 9, 9, 9], config=config, kl_coefficient=0.1, eos_id=0
    )
    assert staleness(experience, iteration=10) == {"staleness": 2.0, "staleness_max": 3.0}


def token_ids(models: Path) -> list[list[int]]:
    return [[number + 5] * (3 + number) for number in range(8)]


def worker_draws(models: Path, config: PpoConfig, number: int) -> list:
    sampler = Sampler(config, models / "policy", token_ids(models))
    share = Share(0, number, "00000000-own")
    sampler.version = share.version
    answer = models / share.answer
    answer.write_bytes(sampler.draw(share))
    drawn = unpacked(answer, share, config=config)
    answer.unlink()
    assert drawn is not None
    return drawn


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_ratios_start_from_the_version_that_drew(models: Path, precision: str) -> None:
    """An update that learns from an older policy's episodes divides by that policy's probabilities, in bf16 too."""
    config = ppo_config(sampling_workers=1, precision=precision)
    drawn = worker_draws(models, config, 0)
    networks = load_networks(models / "policy", models / "reward", watch=None, lora_rank=0)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in networks.policy.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)  # the trainer has moved on
    batch = visited(config, token_ids(models), 0)
    experience = as_experience(networks, batch, drawn, [0] * 8, config=config, kl_coefficient=0.1, eos_id=0)
    rows = experience.rows(range(8))
    assert torch.allclose(networks.ref_logprobs(rows, temperature=1.0), experience.logprobs[experience.mask], atol=1e-4)
    with torch.no_grad():
        now = networks.logprobs(rows, temperature=1.0)
    assert not torch.allclose(now, experience.logprobs[experience.mask], atol=1e-2)


def test_only_as_many_versions_are_kept_as_may_still_draw(stale: tuple[Path, Steps, WorkerHere]) -> None:
    _, _, worker = stale
    kept = [sorted(int(name[7:15]) for name in files if name.startswith("policy-")) for files in worker.files]
    assert kept == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4], [2, 3, 4, 5]]  # a checkpoint every second
    assert not any("drawn-" in name or name.endswith(".partial") for files in worker.files for name in files)


class Careless(WorkerHere):
    """Draws with weights that are older than what was asked for, or stores half an answer, `times` for each share."""

    times = 1
    tears = False

    def look(self, share: Share) -> Word:
        word = super().look(share)
        if self.asked.count(share) <= self.times and share.drawn_by > 0:
            answer = self.folder / share.answer
            if self.tears:
                answer.write_bytes(answer.read_bytes()[:-9])
            else:
                answer.write_bytes(self.draw_with_the_first(share))
        return word

    def draw_with_the_first(self, share: Share) -> bytes:
        sampler = Sampler(self.config, self.policy, read_prompts(self.folder / PROMPTS))
        first = Share(share.iteration, share.number, f"{share.drawn_by - 1:08d}-older")
        sampler.version = first.version
        return sampler.draw(first)


class Torn(Careless):
    tears = True


class AlwaysCareless(Careless):
    times = 9


@pytest.mark.parametrize("desk", [Careless, Torn, AlwaysCareless])
def test_a_wrong_answer_is_refused_and_asked_again(
    models: Path, own: tuple[Path, Steps], tmp_path: Path, desk: type[WorkerHere]
) -> None:
    _, _, worker = run(models, tmp_path, desk=desk, sampling_workers=1)
    assert [worker.asked.count(share) for share in dict.fromkeys(worker.asked)] == [1, 2, 2, 2]
    assert_same_end(tmp_path, own[0])


@pytest.mark.parametrize("number", [3, 5])
def test_30_killed_and_resumed_equals_never_killed_with_episodes_drawn_ahead(
    models: Path, stale: tuple[Path, Steps, WorkerHere], tmp_path: Path, number: int
) -> None:
    with pytest.raises(Killed):
        run(models, tmp_path, DiesAt(number), **STALE)
    leftover = tmp_path / "rollouts" / f"drawn-{number:08d}-0000-00000000-ffffffff.safetensors"
    leftover.write_bytes(b"of a life that is over")
    _, steps, worker = run(models, tmp_path, **STALE)
    assert figures(steps) == figures(stale[1])[-len(steps) :]
    assert_same_end(tmp_path, stale[0])
    assert not any("drawn-" in name for name in worker.files[0])


def test_a_stop_while_episodes_are_awaited_keeps_a_checkpoint(
    models: Path, own: tuple[Path, Steps], tmp_path: Path
) -> None:
    class Stops(WorkerHere):
        def look(self, share: Share) -> Word:
            return Word.STOP if share.iteration == 3 else super().look(share)

    outcome, steps, _ = run(models, tmp_path, desk=Stops, sampling_workers=1)
    assert (outcome.finished, outcome.step, len(steps)) == (False, 3, 3)
    assert (tmp_path / "checkpoints" / "step-00000003").is_dir()
    outcome, steps, _ = run(models, tmp_path, sampling_workers=1)
    assert (outcome.finished, [step.number for step in steps]) == (True, [4])
    assert_same_end(tmp_path, own[0])


def test_a_run_goes_on_with_sampling_workers_or_without(models: Path, own: tuple[Path, Steps], tmp_path: Path) -> None:
    run(models, tmp_path, Steps(stop_after=2))
    run(models, tmp_path, sampling_workers=1)
    assert saved(tmp_path) == saved(own[0])


def test_an_answer_keeps_every_bit(models: Path, tmp_path: Path) -> None:
    config = ppo_config(sampling_workers=1)
    drawn, share = worker_draws(models, config, 0), Share(0, 0, "00000000-own")
    (tmp_path / "answer").write_bytes(packed(drawn, share.version))
    assert unpacked(tmp_path / "answer", share, config=config) == drawn
    assert {each.ended for each in drawn} <= {True, False}
    assert unpacked(tmp_path / "answer", Share(0, 0, "00000000-other"), config=config) is None
    assert unpacked(tmp_path / "nowhere", share, config=config) is None


def test_weights_of_another_model_are_refused(models: Path) -> None:
    sampler = Sampler(ppo_config(sampling_workers=1, lora_rank=2), models / "policy", [[3]])
    whole = models / "policy" / "model.safetensors"
    with pytest.raises(ValueError, match="of another model"):
        sampler.take_on("00000000-own", whole)


def test_without_a_queue_it_is_refused_in_words(models: Path, tmp_path: Path) -> None:
    with pytest.raises(CannotTrain, match="set sampling_workers to 0"):
        ppo.train(
            ppo_config(sampling_workers=1), [Prompt("p", [{"role": "user", "content": "x"}], "train")], Steps(),
            policy=models / "policy", reward_model=models / "reward", out=tmp_path, checkpoints=tmp_path,
        )  # fmt: skip
