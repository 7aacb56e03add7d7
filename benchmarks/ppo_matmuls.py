"""What share of PPO's update is matrix products at full speed: its own shapes, each timed alone, against the update.

    python -m benchmarks.ppo_matmuls --threads 2

Attention's products are inside a kernel of its own. They are counted as batched products of its shapes: two on the way
forward and four on the way back, each by half, since what lies ahead is not looked at.
"""

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.ppo_ours import settings
from benchmarks.ppo_world import COMPLETION, EOS, EPISODES, token_prompts, write_models
from workers.training.loop import keep_freed_memory
from workers.training.ppo_experience import as_experience, draw_by_all
from workers.training.ppo_networks import load_networks
from workers.training.ppo_update import new_trainee, update
from workers.training.rollout import Decoding, uniform_numbers

PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "_linear_pointwise"}
ATTENTION = {  # halves of products, two to a count
    "_scaled_dot_product_flash_attention_for_cpu": 1,
    "_scaled_dot_product_flash_attention_for_cpu_backward": 2,
}
SECONDS = 0.1  # for which a shape is repeated


class Products(TorchDispatchMode):
    """Counts the matrix products inside its block, by operation, shapes and strides, with arguments of each."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.calls: dict[str, tuple[Any, tuple]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name = func.__name__.split(".")[0]
        if name in PRODUCTS:
            self.note(func, args)
        if name in ATTENTION:
            rows = args[0].new_empty(args[0].shape).flatten(0, 1)  # (B * H, T, size)
            self.note(torch.bmm, (rows, rows.transpose(1, 2)), times=ATTENTION[name])
        return func(*args, **(kwargs or {}))

    def note(self, func: Any, args: tuple, *, times: int = 1) -> None:
        described = [(tuple(a.shape), a.stride()) if isinstance(a, Tensor) else a for a in args]
        key = f"{func} {described}"
        self.counts[key] += times
        self.calls[key] = func, args


@torch.no_grad()
def alone(func: Any, args: tuple) -> float:
    """Seconds that one product takes at its best, on numbers of its own."""
    own = [torch.empty_strided(a.shape, a.stride()).normal_() if isinstance(a, Tensor) else a for a in args]
    func(*own)
    best, until = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        began = time.perf_counter()
        func(*own)
        best = min(best, time.perf_counter() - began)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    threads = parser.parse_args().threads
    torch.set_num_threads(threads)
    keep_freed_memory()  # as a run does
    config = settings(inner_epochs=1, iterations=1, threads=threads)
    with tempfile.TemporaryDirectory() as place:
        write_models(Path(place), ends=0.0)
        networks = load_networks(Path(place) / "policy", Path(place) / "reward", watch=None, lora_rank=0)
    uniforms = uniform_numbers(1, "benchmark", shape=(EPISODES, 1, COMPLETION))
    decoding = Decoding(max_new_tokens=COMPLETION, eos_ids=frozenset([EOS]), rows=EPISODES)
    prompts = token_prompts(EPISODES, ragged=False)
    drawn = draw_by_all(networks.policy, prompts, uniforms, config=config, decoding=decoding)
    experience = as_experience(networks, prompts, drawn, [0] * EPISODES, config=config, kl_coefficient=0.05, eos_id=EOS)
    trainee, minibatches = new_trainee(networks, config=config), EPISODES // config.minibatch_size

    def step() -> float:
        began = time.perf_counter()
        update(trainee, experience, [range(EPISODES)], [[]] * minibatches, config=config, lr_factor=1.0)
        return time.perf_counter() - began

    step()
    took = min(step() for _ in range(5))
    with Products() as products:
        step()
    took_alone = {key: count * alone(*products.calls[key]) for key, count in products.counts.items()}
    products_alone = sum(took_alone.values())
    attention = sum(seconds for key, seconds in took_alone.items() if products.calls[key][0] is torch.bmm)
    print(
        f"{threads} threads: an epoch's update takes {took:.2f} s, its {products.counts.total()} products of "
        f"{len(products.counts)} shapes alone {products_alone:.2f} s, of which attention's {attention:.2f} s: "
        f"{100 * products_alone / took:.0f} % of their rate"
    )


if __name__ == "__main__":
    main()
