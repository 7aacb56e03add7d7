"""What carries the messages: Redis, or RabbitMQ where TOUCHSTONE_BROKER_URL names one; asked here how it is."""

import os
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import redis
from amqp.exceptions import AMQPError, MessageNacked
from kombu.connection import Connection
from kombu.exceptions import OperationalError

from app.core.config import Settings

# What sending may raise where nothing takes the message. What RabbitMQ refuses, Celery hands on as it is.
UNREACHABLE = (OperationalError, AMQPError, MessageNacked, OSError)
PATIENCE = 3.0  # seconds for RabbitMQ to let us in, and again to confirm a message
# A lost message costs nothing, so nobody waits for the broker: one more try, at once (kombu would wait 2 s).
ONCE_MORE = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}


class BrokerAway(Exception):
    """It does not answer, or lets us not in; said in words that hold no secret."""


def shown(url: str) -> str:
    """The address without the user and the password."""
    return url.rsplit("@", 1)[-1]


def celery_settings(settings: Settings) -> dict[str, Any]:
    """How Celery reaches it. The row, not the message, is what recovers a lost run; so nothing here has to be safe."""
    if not settings.is_rabbitmq:
        return {
            "broker_url": settings.broker,
            "task_acks_late": False,  # Redis would deliver a message again that is not acknowledged for an hour
            "task_publish_retry": False,
            "broker_transport_options": {"socket_timeout": 5, "socket_connect_timeout": 5, **ONCE_MORE},
        }
    return {
        "broker_url": settings.broker,
        "broker_use_ssl": _tls(settings),
        "broker_connection_timeout": PATIENCE,
        # A worker that trains for hours answers no heartbeats: TCP's own keepalive tells who is gone.
        "broker_heartbeat": 0,
        # RabbitMQ pushes: as long as this one is not acknowledged, no other message comes to a worker that is busy.
        "task_acks_late": True,
        # After half an hour of that it closes the channel: the worker makes a new one when its run is over.
        "broker_channel_error_retry": True,
        "task_publish_retry": True,  # a connection that was kept may have died with a broker that is back
        "task_publish_retry_policy": ONCE_MORE,
        "broker_transport_options": {"confirm_publish": True, **_timeouts(PATIENCE), **ONCE_MORE},
        "task_default_delivery_mode": "transient",
        "worker_enable_remote_control": False,
    }


def _tls(settings: Settings) -> dict[str, Any] | bool:
    """Without this py-amqp would take any certificate."""
    return settings.broker.startswith("amqps:") and {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}


def _timeouts(seconds: float) -> dict[str, float]:
    return {"read_timeout": seconds, "write_timeout": seconds}


def ask(settings: Settings, *, patience: float = 1.0) -> None:
    """Whether it answers; raises BrokerAway."""
    waiting(settings, (), patience=patience)


def waiting(settings: Settings, queues: Iterable[str], *, patience: float = 1.0) -> dict[str, int]:
    """How many messages wait in each of these queues; raises BrokerAway."""
    if settings.is_rabbitmq:
        with _rabbitmq(settings, patience) as connection:
            # Not passively: RabbitMQ writes an error into its log for each look at a queue that nobody made yet.
            made = {"durable": True, "auto_delete": False}
            return {name: int(connection.default_channel.queue_declare(name, **made).message_count) for name in queues}
    try:
        options = {"socket_timeout": patience, "socket_connect_timeout": patience}
        with redis.from_url(settings.broker_address, **options) as client:
            client.ping()
            return {name: int(client.llen(name)) for name in queues}
    except (redis.RedisError, ValueError, OSError) as error:
        raise BrokerAway(f"does not answer: {error}") from error


def try_sending(settings: Settings, *, patience: float = PATIENCE) -> None:
    """Make a queue, and send a message there and back: RabbitMQ allows each of these by itself. Raises BrokerAway."""
    if not settings.is_rabbitmq:
        return ask(settings, patience=patience)
    passing = {"exchange_opts": {"durable": False, "auto_delete": True}, "queue_opts": {"exclusive": True}}
    with _rabbitmq(settings, patience) as connection:
        queue = connection.SimpleQueue(f"touchstone.doctor-{os.getpid()}", no_ack=True, **passing)
        try:
            queue.put("ok")
            queue.get(timeout=patience)
        except queue.Empty as error:
            raise BrokerAway("took a message and does not hand it back") from error


@contextmanager
def _rabbitmq(settings: Settings, patience: float) -> Iterator[Any]:
    connection: Any = Connection(  # type: ignore[no-untyped-call]
        settings.broker,
        ssl=_tls(settings),
        connect_timeout=patience,
        heartbeat=0,
        transport_options={**_timeouts(patience), **ONCE_MORE, "max_retries": 0},
    )
    try:
        connection.default_channel  # noqa: B018  connects, as many times as the options say
        yield connection
    except AMQPError as error:
        # Of `ACCESS_REFUSED - Login was refused ...` the words.
        raise BrokerAway(f"refuses it: {str(error.reply_text or error).split(' - ', 1)[-1]}") from error
    except UNREACHABLE as error:
        raise BrokerAway(f"does not answer: {error}") from error
    finally:
        connection.release()
