"""What is said in answer, word by word, to a page that is open; it ends in words, whatever happens behind it."""

import logging
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

import redis
from anyio.to_thread import run_sync
from sqlalchemy.exc import DBAPIError

from app.core.errors import DomainError
from app.playground import line, service
from app.playground.line import Asked, Said

logger = logging.getLogger(__name__)
BETWEEN_LOOKS = 1.0  # seconds between looks at what it waits for, and whether its worker lives


async def listen(asked: Asked, *, after: str) -> AsyncIterator[tuple[str, Said]]:
    """Each word behind `after` with its place in the stream, up to the last; notes on the waiting have no place."""
    try:
        async for place, said in _listen(asked, after):
            yield place, said
            if said["kind"] == "over":
                return
    except (redis.RedisError, OSError) as error:
        yield "", _refusal(line.away(error))
    except DomainError as error:
        yield "", _refusal(error)
    except DBAPIError as error:
        logger.warning("the database did not answer beside a question: %s", error)
        yield "", {"kind": "over", "words": "The database does not answer. Ask again when it is back.", "bad": True}


async def _listen(asked: Asked, after: str) -> AsyncIterator[tuple[str, Said]]:
    told, looked = None, 0.0
    client = line.connect_async()
    try:
        while True:
            if time.monotonic() - looked >= BETWEEN_LOOKS:
                note, looked = await run_sync(service.look, asked), time.monotonic()
                if note is not None and note != told:
                    yield "", {"kind": "note", **asdict(note)}
                told = note
            streams: Any = await client.xread({line.key_of(asked.id, "said"): after}, block=int(1000 * BETWEEN_LOOKS))
            for _, entries in streams:
                for place, said in line.read(entries):
                    after = place
                    yield place, said
            if not streams and not await client.exists(line.key_of(asked.id)):
                yield "", {"kind": "over", "words": "These answers are no longer kept. Ask again.", "bad": True}
                return
    finally:
        await client.aclose()


def _refusal(error: DomainError) -> Said:
    return {"kind": "over", "words": f"{error.message} {error.mend}".strip(), "bad": True}
