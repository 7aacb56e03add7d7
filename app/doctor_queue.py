"""What `touchstone doctor` says of Redis, and of what carries the queue in its place."""

import re

import redis

from app.core import embedded_redis
from app.core.broker import BrokerAway, shown, try_sending
from app.core.config import Settings
from app.findings import Finding, State


def redis_server(settings: Settings) -> Finding:
    """Whether Redis answers, or can be started when it is the embedded one."""
    name = "Redis"
    if settings.redis_url:
        return _given_redis(settings.redis_url)
    if embedded_redis.answers(settings.redis_socket):
        return Finding(name, State.ok, f"embedded, answers on {settings.redis_socket}")
    try:
        return Finding(name, State.ok, f"embedded, started by `touchstone up` from {embedded_redis.redis_server()}")
    except embedded_redis.NoRedis as error:
        found, mend = str(error).split(". ", 1)
        return Finding(name, State.wrong, found, mend)


def _given_redis(url: str) -> Finding:
    mend = "See that it runs, and that TOUCHSTONE_REDIS_URL is its address (redis://host:6379/0)."
    try:
        # Celery writes a socket's address as redis+socket://, the client as unix://.
        with redis.from_url(re.sub(r"^redis\+socket:", "unix:", url), socket_connect_timeout=3) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        return Finding("Redis", State.wrong, f"does not answer: {error}", mend)
    return Finding("Redis", State.ok, f"answers at {url.rsplit('@', 1)[-1]}")


def broker(settings: Settings) -> Finding:
    """Whether a message goes there and back, where another server than Redis carries them."""
    name = "Queue"
    if settings.broker_url is None:
        return Finding(name, State.ok, "in Redis")
    mend = (
        "See that it runs, and that TOUCHSTONE_BROKER_URL has its user, password and virtual host "
        "(amqp://user:password@host:5672/vhost; / and @ in a password are written %2F and %40)."
    )
    try:
        try_sending(settings)
    except BrokerAway as error:
        return Finding(name, State.wrong, str(error), mend)
    return Finding(name, State.ok, f"{'RabbitMQ' if settings.is_rabbitmq else 'Redis'} at {shown(settings.broker)}")
