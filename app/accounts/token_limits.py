"""How often one API token may ask: a script that runs wild must not take the desk from labelers."""

import math
import time
from functools import lru_cache

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from app.core.config import get_settings
from app.core.errors import TooMany


@lru_cache
def _limiter() -> SlidingWindowCounterRateLimiter:
    """Counted in this process: what is to be spared is its own time, and no answer waits for another server."""
    return SlidingWindowCounterRateLimiter(MemoryStorage())


def count_request(token_id: str) -> None:
    """One more request of this token; TooMany where that is one too many."""
    most = get_settings().api_requests_per_minute
    if not most:
        return
    limit = RateLimitItemPerMinute(most)
    if not _limiter().hit(limit, token_id):
        seconds = math.ceil(_limiter().get_window_stats(limit, token_id).reset_time - time.time())
        raise TooMany(
            f"This token has asked more than {most} times in a minute.",
            seconds=max(1, seconds),
            mend="Wait as long as Retry-After says, or ask for more rows at once.",
        )
