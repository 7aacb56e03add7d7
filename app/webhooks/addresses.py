"""Where a webhook may be sent: to the outside, and not to what only this machine or its network can reach."""

import ipaddress
import socket
from urllib.parse import urlsplit

from app.core.config import get_settings
from app.core.errors import Invalid

LONGEST_URL = 2000
# Of IPv6 only what is handed out to the public (RFC 4291), so neither site-local addresses nor those of NAT64 and the
# like, which stand for one of IPv4 that may be private; in it these do so too, or are of examples.
_UNICAST = ipaddress.IPv6Network("2000::/3")
_NOT_ITSELF = tuple(map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))


def check_url(url: str) -> str:
    """The address, if events may be sent there."""
    url = url.strip()
    addresses_of(url)
    return url


def addresses_of(url: str) -> list[str]:
    """The IP addresses behind a URL, every one of them allowed. Asked anew for each sending, and sent to as answered
    here, so that a name which changes its mind in between reaches nothing else (DNS rebinding)."""
    parts = urlsplit(url) if len(url) <= LONGEST_URL else urlsplit("")
    if parts.scheme not in {"https", "http"} or not parts.hostname or parts.username or parts.password:
        raise _wrong("Write it as https://example.org/path, without a name or a password in it.")
    if parts.scheme == "http" and not get_settings().webhook_private_addresses:
        raise _wrong("Use https: what is sent says what goes on in the project.")
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, ValueError) as error:
        raise _wrong(f"The name {parts.hostname} can't be looked up.") from error
    addresses = sorted({str(entry[4][0]) for entry in found})
    if not get_settings().webhook_private_addresses and not all(_is_public(each) for each in addresses):
        raise _wrong("It leads to this machine or a private network. TOUCHSTONE_WEBHOOK_PRIVATE_ADDRESSES allows that.")
    return addresses


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.split("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return _is_public(str(ip.ipv4_mapped))
        if ip not in _UNICAST or any(ip in each for each in _NOT_ITSELF):
            return False
    return ip.is_global and not ip.is_multicast


def _wrong(what: str) -> Invalid:
    return Invalid(f"Nothing can be sent there. {what}", fields={"url": what})
