"""When what was not taken is sent again."""

from datetime import timedelta

BATCH = 20  # sent before those who wait for the sender are looked at
SENDING_TAKES = timedelta(minutes=1)  # after which whoever took it is taken for dead
LETTER_TAKES = timedelta(minutes=3)  # the same: a mail server has ten seconds for each of a dozen answers
# Standard Webhooks' own schedule: ten attempts in some three days.
WAITS = [timedelta(seconds=s) for s in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)]
LONGEST = max(WAITS) + timedelta(hours=1)  # a wait that ends later was begun under a clock that ran ahead
