"""What every trainer does before its first step."""

import resource
import sys

import pytest
import torch

from workers.training.loop import keep_freed_memory

pytestmark = pytest.mark.train


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator is what is told")
def test_freed_memory_is_kept_for_what_comes_next() -> None:
    keep_freed_memory()
    torch.ones(12 << 20)  # 48 MiB, which glibc by itself fetches anew each time
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(12 << 20)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 5 * 12_288  # pages of five
