"""Passwords and tokens: made, and kept as hashes. What is the web's own stands in `security`."""

import hashlib
import secrets
import threading
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

# More than OWASP asks for (19 MiB, twice), and a web process that signs many people in at once stays small.
_hasher = PasswordHasher(memory_cost=32 * 1024, time_cost=3, parallelism=1)
_one_at_a_time = threading.Lock()


def hash_password(password: str) -> str:
    with _one_at_a_time:
        return _hasher.hash(password)


@cache
def _no_one() -> str:
    """What is verified for an unknown address, so that time tells nothing. Made when a first password is tried: every
    command and worker comes by here, and few of them ever look at one."""
    return hash_password(secrets.token_hex(16))


def password_matches(password: str, hashed: str | None) -> bool:
    """Whether `password` is the one hashed; takes as long when there is no hash to compare with."""
    no_one = _no_one()  # whoever is asked for, so that the first to be asked for tells nothing either
    try:
        with _one_at_a_time:
            return _hasher.verify(hashed or no_one, password) and hashed is not None
    except (VerificationError, InvalidHashError):
        return False


def new_token() -> str:
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """What the database keeps of a token. Tokens are random, so a plain SHA-256 suffices."""
    return hashlib.sha256(token.encode()).hexdigest()
