"""The arithmetic of docs/scaling.md, against the file, real models and what torch counts."""

import pytest

from benchmarks import scaling
from benchmarks.scaling import GPT3, H100, PAPER, SHAPES, Shape

SMALL = Shape("small", layers=2, width=32, inner=48, keys=16, vocabulary=320)


def test_the_file_is_what_the_formulas_say() -> None:
    assert scaling.FILE.read_text() == scaling.as_markdown(), "python -m benchmarks.scaling writes it anew"


def test_sizes_are_those_that_the_names_say() -> None:
    assert [round(shape.parameters / 1e9, 1) for shape in (*SHAPES, GPT3)] == [1.3, 6.7, 69.0, 174.6]


def test_the_papers_own_runs_come_out_as_it_reports_them() -> None:
    assert scaling.petaflop_days() == pytest.approx((4.9, 60), rel=0.1)


def test_hours_add_up() -> None:
    for shape in SHAPES:
        found = scaling.hours(shape)
        iteration = scaling.seconds(scaling.rollout(shape) + scaling.update(shape), H100)
        expected = scaling.EPISODES / scaling.BATCH * iteration / 3600 + found["of it drawing"]
        assert found["PPO"] == pytest.approx(expected)
        assert found["of it drawing"] < found["PPO"]


def test_a_ring_sends_twice_what_it_adds_up() -> None:
    assert scaling.all_reduce(1000, 2) == 4000
    assert scaling.all_reduce(1000, 1) == scaling.sharded(1000, 1) == 0


@pytest.mark.train
@pytest.mark.parametrize("tied", [True, False])
def test_parameters_and_flops_are_those_of_a_real_model(tied: bool) -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import LlamaForCausalLM

    from tests.workers.tiny import tiny_config

    shape = Shape(**{**{f: getattr(SMALL, f) for f in SMALL.__slots__}, "tied": tied})
    model = LlamaForCausalLM(tiny_config(tie_word_embeddings=tied, attn_implementation="eager"))
    assert sum(parameter.numel() for parameter in model.parameters()) == shape.parameters
    ids = torch.zeros(3, 64, dtype=torch.long)
    with FlopCounterMode(display=False) as counted:
        model(input_ids=ids).logits.sum().backward()
    # Eager attention computes the whole square, of which causality needs half: twice the context.
    assert counted.get_total_flops() == shape.train(3 * 64, context=2 * 64)


@pytest.mark.train
def test_bytes_a_parameter_are_those_of_the_optimizer_and_of_the_worker() -> None:
    torch = pytest.importorskip("torch")
    from app.runs.configs import RunKind
    from app.runs.needs import bytes_needed

    weight = torch.nn.Parameter(torch.zeros(1000))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()
    moments = [t for t in optimizer.state[weight].values() if t.numel() == weight.numel()]
    held = sum(t.numel() * t.element_size() for t in (weight, weight.grad, *moments))
    assert held == scaling.TRAINED * 1000 == bytes_needed(RunKind.sft, 1000, lora=False)
    assert bytes_needed(RunKind.ppo, 1000, lora=False) == scaling.PPO * 1000
    assert bytes_needed(RunKind.ppo, 1000, lora=True) == scaling.PPO_LORA * 1000


def test_a_longer_work_costs_more() -> None:
    longer = scaling.Work(episode=2 * PAPER.episode)
    for shape in SHAPES:
        assert scaling.update(shape, longer) > 1.5 * scaling.update(shape)
        assert scaling.decode_seconds(shape, H100, longer) > 2 * scaling.decode_seconds(shape, H100)
