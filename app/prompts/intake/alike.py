"""How alike two prompts are, and the fingerprint by which those that are nearly the same are found among a million.

MinHash (Broder 1997): of 128 hash functions the least value over a text's shingles; two texts agree in each with the
probability that is their Jaccard similarity. Sixteen bands of eight of them find 95 % of the pairs that are alike by
0.8, and 99.9 % of those by 0.9; what they find is then compared exactly.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHINGLE = 5  # characters
PERMUTATIONS, BANDS = 128, 16
_AT_ONCE = 4096  # shingles times permutations lie in memory together

Hashes = NDArray[np.uint64]


def plain_text(messages: Sequence[dict[str, Any]]) -> str:
    """What of a prompt is compared: its turns, without the system's, which many prompts share. Case and spacing don't
    count."""
    return " ".join(" ".join(m["content"] for m in messages if m["role"] != "system").casefold().split())


def prefix_key(text: str, length: int) -> int:
    """The same for texts that begin alike for `length` characters; 0 for one that is shorter."""
    if len(text) < length:
        return 0
    return int.from_bytes(hashlib.blake2b(text[:length].encode(), digest_size=8).digest()) or 1


def shingles(text: str) -> Hashes:
    """The distinct hashes of all runs of five characters, in order. (N,)"""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    if len(codes) < SHINGLE:
        codes = np.pad(codes, (0, SHINGLE - len(codes)))
    runs = np.lib.stride_tricks.sliding_window_view(codes, SHINGLE)  # (N, 5)
    return np.unique(_mixed(runs @ _functions()[0][:SHINGLE]))


def jaccard(first: Hashes, second: Hashes) -> float:
    """The share of shingles that two texts have in common, of those that either has."""
    common = len(np.intersect1d(first, second, assume_unique=True))
    return common / (len(first) + len(second) - common)


def fingerprint(text: str) -> bytes:
    """Sixteen numbers; texts that are alike share some of them. 64 bytes."""
    factors, offsets = _functions()
    hashes = shingles(text)
    least = np.full(PERMUTATIONS, np.iinfo(np.uint64).max, dtype=np.uint64)
    for start in range(0, len(hashes), _AT_ONCE):
        values = hashes[None, start : start + _AT_ONCE] * factors[:, None]  # (128, N)
        values += offsets[:, None]
        least = np.minimum(least, values.min(axis=1))
    rows = least.reshape(BANDS, -1)  # (16, 8)
    bands = _mixed(rows @ factors[: rows.shape[1]])
    return (bands >> np.uint64(32)).astype("<u4").tobytes()


@lru_cache
def _functions() -> tuple[Hashes, Hashes]:
    chance = np.random.default_rng(20220304)  # any seed, but always the same one: fingerprints are kept
    most = np.iinfo(np.uint64).max
    factors = chance.integers(0, most, PERMUTATIONS, dtype=np.uint64) | np.uint64(1)
    return factors, chance.integers(0, most, PERMUTATIONS, dtype=np.uint64)


def _mixed(values: Hashes) -> Hashes:
    """splitmix64's finaliser (Steele et al. 2014): every bit of the sum depends on every bit of the value."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
