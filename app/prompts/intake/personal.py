"""Personal data that has a form: found by its form and, where it has one, by its check digits."""

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from phonenumbers import Leniency, PhoneNumberMatcher

REGIONS = ("US", "GB")  # where a number without its country's code is looked for
_FEWEST_DIGITS = 7
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])")
_IP = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7})(?![\w:])(?!\.\d)")
_CARD = re.compile(r"(?<![\w-])\d(?:[ -]?\d){12,18}(?![\w-])")
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{1,4}){3,8}(?!\w)")
_SSN = re.compile(r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")


@dataclass(frozen=True, slots=True)
class Found:
    start: int
    end: int
    kind: str  # as a person calls it, and as it stands in its place


def find_personal_data(text: str) -> list[Found]:
    """What of a text is personal data, in its order; of two that overlap the longer."""
    everything = sorted((each for find in _FINDERS for each in find(text)), key=lambda f: (f.start - f.end, f.start))
    chosen: list[Found] = []
    for each in everything:
        if all(each.end <= other.start or each.start >= other.end for other in chosen):
            chosen.append(each)
    return sorted(chosen, key=lambda found: found.start)


def masked(text: str) -> str:
    """The text with a word in brackets in each one's place."""
    for found in reversed(find_personal_data(text)):
        text = f"{text[: found.start]}[{found.kind}]{text[found.end :]}"
    return text


def _by(pattern: re.Pattern[str], kind: str, is_one: Callable[[str], bool]) -> Callable[[str], Iterator[Found]]:
    def find(text: str) -> Iterator[Found]:
        for match in pattern.finditer(text):
            if is_one(match[0]):
                yield Found(match.start(), match.end(), kind)

    return find


def _is_address(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_unspecified or address.is_loopback)


def _passes_luhn(text: str) -> bool:
    digits = [int(digit) for digit in reversed(text) if digit.isdigit()]
    doubled = (2 * digit - 9 * (digit > 4) for digit in digits[1::2])
    return len(set(digits)) > 1 and (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _is_iban(text: str) -> bool:
    plain = text.replace(" ", "")
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])) % 97 == 1


def _phones(text: str) -> Iterator[Found]:
    if sum(sign.isdigit() for sign in text) < _FEWEST_DIGITS:
        return
    for region in REGIONS:
        for match in PhoneNumberMatcher(text, region, leniency=Leniency.VALID):
            yield Found(match.start, match.end, "phone number")


_FINDERS: tuple[Callable[[str], Iterator[Found]], ...] = (
    _by(_EMAIL, "e-mail", lambda _: True),
    _by(_IP, "IP address", _is_address),
    _by(_CARD, "card number", _passes_luhn),
    _by(_IBAN, "IBAN", _is_iban),
    _by(_SSN, "social security number", lambda _: True),
    _phones,
)
