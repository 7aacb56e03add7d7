"""When what was not taken is sent again."""

from datetime import timedelta

SENDING_TAKES = timedelta(minutes=1)  # after which whoever took it is taken for dead
# Standard Webhooks' own schedule: ten attempts in some three days.
WAITS = [timedelta(seconds=s) for s in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)]
