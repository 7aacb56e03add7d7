"""Which addresses are taken for what carries the messages."""

from urllib.parse import urlsplit

RABBITMQ = ("amqp", "amqps")
_BROKERS = (*RABBITMQ, "redis", "rediss", "redis+socket")


def is_broker(url: str) -> bool:
    try:
        parts = urlsplit(url)
        of_rabbitmq = parts.hostname and not parts.query and parts.port != 0
    except ValueError:
        return False  # its words would show a piece of a password that holds a /
    return bool(of_rabbitmq) if parts.scheme in RABBITMQ else parts.scheme in _BROKERS
