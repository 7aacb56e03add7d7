"""The line between page and worker in Redis: a question, what is said in answer, and who is still there.

Nothing of it is kept: ten minutes after the last word Redis has forgotten it.
"""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any, cast

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.core.config import get_settings
from app.core.errors import DomainError
from app.playground.questions import Question

KEPT_FOR = 600  # seconds after the last word in which the page can be looked at again
HEARD_FOR = 15  # seconds without an open page after which nobody waits for the answer
SILENT_AFTER = 10.0  # seconds without a sign of the worker after which it is taken for dead
Said = dict[str, Any]


class LineAway(DomainError):
    """Redis does not answer."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "The playground can't be reached"


class Standing(StrEnum):
    gone = "gone"  # too long ago
    waiting = "waiting"  # for a worker
    answering = "answering"
    silent = "silent"  # its worker gives no sign any more
    over = "over"


@dataclass(frozen=True, slots=True)
class Asked:
    id: uuid.UUID
    person_id: uuid.UUID
    project_id: uuid.UUID
    question: Question
    names: list[str]  # of the models that are to answer, as they were when it was asked


def away(error: Exception) -> LineAway:
    return LineAway(
        f"The queue (Redis) does not answer: {error}.",
        mend="Ask again when it is back; `touchstone doctor` looks closer.",
    )


@contextmanager
def connected() -> Iterator[redis.Redis]:
    """A connection of one's own. Raises LineAway."""
    client = redis.Redis.from_url(get_settings().redis_address, **_OPTIONS)
    try:
        yield client
    except (redis.RedisError, OSError) as error:
        raise away(error) from error
    finally:
        client.close()


def connect_async() -> redis.asyncio.Redis:
    options = {**_OPTIONS, "retry": redis.asyncio.retry.Retry(NoBackoff(), 0)}
    return redis.asyncio.Redis.from_url(get_settings().redis_address, **options)


_OPTIONS: dict[str, Any] = {
    "decode_responses": True,
    "protocol": 2,  # in which a stream is read as a list
    "socket_timeout": 5,
    "socket_connect_timeout": 3,
    "retry": Retry(NoBackoff(), 0),  # whoever waits is told at once instead
}


def key_of(ask_id: uuid.UUID, part: str = "") -> str:
    return f"touchstone:playground:{ask_id}" + (f":{part}" if part else "")


def put(client: redis.Redis, asked: Asked) -> None:
    """The question, for a worker to take. One at a time: what the person asked before is stopped."""
    of_person = f"touchstone:playground:of:{asked.person_id}"
    earlier = cast("str | None", client.set(of_person, str(asked.id), ex=KEPT_FOR, get=True))
    if earlier:
        stop(client, uuid.UUID(earlier), "You asked another question meanwhile.")
    key = key_of(asked.id)
    facts: dict[Any, Any] = {
        "person": str(asked.person_id), "project": str(asked.project_id),
        "question": asked.question.model_dump_json(), "names": json.dumps(asked.names),
    }  # fmt: skip
    with client.pipeline() as pipe:
        pipe.hset(key, mapping=facts)
        pipe.expire(key, KEPT_FOR)
        pipe.set(key_of(asked.id, "heard"), "1", ex=HEARD_FOR)
        pipe.execute()


def find(client: redis.Redis, ask_id: uuid.UUID) -> Asked | None:
    """The question as it was asked; none: it is forgotten."""
    facts = cast("dict[str, str]", client.hgetall(key_of(ask_id)))
    if "question" not in facts:
        return None
    person, project = uuid.UUID(facts["person"]), uuid.UUID(facts["project"])
    question = Question.model_validate_json(facts["question"])
    return Asked(ask_id, person, project, question, json.loads(facts["names"]))


def take(client: redis.Redis, ask_id: uuid.UUID, *, worker: str) -> Asked | None:
    """The question for this worker to answer; none: it is over, taken already, or nobody waits for it any more."""
    key = key_of(ask_id)
    stopped = client.hmget(key, "stop", "over")
    if any(cast("list[str | None]", stopped)) or not client.exists(key_of(ask_id, "heard")):
        return None
    with client.pipeline() as pipe:  # in one step, or a look between the two would find a worker without a sign of life
        pipe.hsetnx(key, "taken", worker)
        pipe.set(key_of(ask_id, "alive"), worker, px=int(1000 * silent_after()))
        is_ours, _ = pipe.execute()
    return find(client, ask_id) if is_ours else None


def silent_after() -> float:
    return min(SILENT_AFTER, get_settings().stale_after_seconds)


def beat(client: redis.Redis, ask_id: uuid.UUID, *, worker: str) -> str:
    """The worker is alive; why it need not go on, in words, if so."""
    with client.pipeline() as pipe:
        pipe.set(key_of(ask_id, "alive"), worker, px=int(1000 * silent_after()))
        pipe.hmget(key_of(ask_id), "stop", "over")
        pipe.exists(key_of(ask_id, "heard"))
        _, (stopped, over), is_heard = pipe.execute()
    return stopped or ("It is over." if over else "") or ("" if is_heard else "The page was closed.")


def say(client: redis.Redis, ask_id: uuid.UUID, *said: Said) -> None:
    """Add to the answer, in order."""
    with client.pipeline() as pipe:
        for each in said:
            pipe.xadd(key_of(ask_id, "said"), {"said": json.dumps(each)})
        pipe.expire(key_of(ask_id, "said"), KEPT_FOR)
        pipe.expire(key_of(ask_id), KEPT_FOR)
        pipe.execute()


def finish(client: redis.Redis, ask_id: uuid.UUID, words: str = "", *, is_bad: bool = False) -> None:
    """The last word, whoever says it first."""
    if client.exists(key_of(ask_id)) and client.hsetnx(key_of(ask_id), "over", "1"):
        say(client, ask_id, {"kind": "over", "words": words, "bad": is_bad})


def stop(client: redis.Redis, ask_id: uuid.UUID, words: str) -> None:
    """Ask the worker to end; where none has taken it this is its end."""
    key = key_of(ask_id)
    if not client.exists(key):
        return
    client.hset(key, "stop", words)
    if not client.hexists(key, "taken"):
        finish(client, ask_id, words)


def standing(client: redis.Redis, ask_id: uuid.UUID) -> Standing:
    over, taken = cast("list[str | None]", client.hmget(key_of(ask_id), "over", "taken"))
    if over:
        return Standing.over
    if taken:
        return Standing.answering if client.exists(key_of(ask_id, "alive")) else Standing.silent
    return Standing.waiting if client.exists(key_of(ask_id)) else Standing.gone


def keep_listening(client: redis.Redis, ask_id: uuid.UUID) -> None:
    """Somebody has the page open."""
    with client.pipeline() as pipe:
        pipe.set(key_of(ask_id, "heard"), "1", ex=HEARD_FOR)
        pipe.expire(key_of(ask_id), KEPT_FOR)
        pipe.execute()


def read(entries: list[tuple[str, dict[str, str]]]) -> list[tuple[str, Said]]:
    """What was said, with each word's place in the stream."""
    return [(place, json.loads(fields["said"])) for place, fields in entries]


def said_so_far(client: redis.Redis, ask_id: uuid.UUID) -> list[tuple[str, Said]]:
    return read(cast("list[tuple[str, dict[str, str]]]", client.xrange(key_of(ask_id, "said"))))
