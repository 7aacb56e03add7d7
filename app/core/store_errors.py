"""What a store on another machine says when it can't be used, in words that hold no address and no secret."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.core.outages import Outage

KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_NO_KEYS = ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "CredentialRetrievalError")


class StoreAway(Outage):
    """Nothing is wrong with what was asked for: the store can't be used now."""

    title = "The artefact store can’t be used"


def _may_raise(*own: type[Exception]) -> tuple[type[Exception], ...]:
    """`own`, and what the client of S3 raises, where it is installed."""
    try:
        from botocore import exceptions as client
    except ImportError:
        return own
    return (*own, client.BotoCoreError, client.ClientError)


def in_words(error: Exception) -> StoreAway:
    if type(error).__name__ in _NO_KEYS:
        return StoreAway("The artefact store has been given no credentials.", mend=f"Set {KEYS}.")
    if isinstance(error, PermissionError):
        return StoreAway(
            "The artefact store refuses these credentials.",
            mend=f"See {KEYS}: their owner must be allowed to list, read, write and delete.",
        )
    if isinstance(error, FileNotFoundError) and "bucket" in str(error).lower():
        return StoreAway(
            "The artefact store's bucket does not exist.", mend="Make it, or see TOUCHSTONE_ARTEFACTS_URL."
        )
    return StoreAway(
        f"The artefact store does not answer as it should ({type(error).__name__}).",
        mend="See that it runs, and AWS_ENDPOINT_URL if it is not Amazon's; then try again.",
    )


@contextmanager
def saying_what_broke() -> Iterator[None]:
    """Around an access to a store that is not a folder."""
    try:
        yield
    except _may_raise(OSError) as error:
        raise in_words(error) from error


@contextmanager
def saying_what_broke_below() -> Iterator[None]:
    """Around work with a file of such a store: a file that can't be unpacked, say, is no fault of the store."""
    try:
        yield
    except _may_raise(PermissionError, ConnectionError, TimeoutError) as error:
        raise in_words(error) from error
