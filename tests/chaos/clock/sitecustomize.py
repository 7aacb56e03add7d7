"""A wrong clock: loaded by Python before all else where this folder is on its path, in every process of a place.

The file that CHAOS_CLOCK names holds the seconds that this machine's clock is off; it is read anew each time, so the
clock jumps while everything runs. What counts seconds (time.monotonic) goes on evenly, as the kernel's does.
"""

import os
import time
from datetime import datetime, timedelta
from pathlib import Path

import app.core.clock

_FILE = Path(os.environ["CHAOS_CLOCK"])
_time, _time_ns, _now = time.time, time.time_ns, app.core.clock.now


def _off() -> float:
    try:
        return float(_FILE.read_text() or 0)
    except FileNotFoundError:
        return 0.0


def now() -> datetime:
    return _now() + timedelta(seconds=_off())


app.core.clock.now = now
time.time = lambda: _time() + _off()
time.time_ns = lambda: _time_ns() + int(_off() * 1e9)
