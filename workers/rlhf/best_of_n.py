"""Best-of-n sampling in numbers: what the best of n is worth, and how far from the model it can be."""

import math
from collections.abc import Sequence


def expected_best(rewards: Sequence[float], n: int) -> float:
    """Unbiased estimate of the expected highest reward among n completions, from N >= n that were drawn.

    The mean of the highest over all subsets of n: with the rewards in ascending order, the i-th is the highest of
    C(i - 1, n - 1) of the C(N, n) (Nakano et al. 2021, appendix I).
    """
    total = len(rewards)
    assert 1 <= n <= total, f"the best of {n} needs as many draws, not {total}"
    subsets = math.comb(total, n)
    ascending = enumerate(sorted(rewards), start=1)
    return sum(math.comb(i - 1, n - 1) / subsets * reward for i, reward in ascending if i >= n)


def kl_bound(n: int) -> float:
    """log n - (n - 1) / n nats a completion: the KL of best-of-n from its model is this at most.

    Stiennon et al. 2020, appendix G.3, as an equation; Beirami et al. 2024 show that it is an upper bound, reached
    where no two completions are alike.
    """
    return math.log(n) - (n - 1) / n


def powers_up_to(n: int) -> list[int]:
    """1, 2, 4, ... and n itself: the points of a best-of-n curve."""
    return [*(2**i for i in range(n.bit_length()) if 2**i < n), n]
