"""What simulated labelers want: a stated utility of a text, and noise that makes two of them agree as people do.

It looks at words only, so that anyone can compute it again: a children's story should be about what was asked, end
well, be whole and not repeat itself. It is for trying the loop, and no measure of quality.
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from math import erf, sqrt

MENTIONS, REPETITION, ENDING, BREVITY, WARMTH = 2.0, 2.0, 0.5, 2.0, 1.5
ENOUGH_WORDS = 40
LAST_WORDS, ENOUGH_WARM_WORDS = 30, 2  # how much of the text is its end, and how many glad words make that warm
TIE_WIDTH = 0.25  # of the noise's standard deviation
_WORD = re.compile(r"[a-z']+")
_ENDS_PROPERLY = re.compile(r"[.!?][\"'”’]?$")
_PLURAL = re.compile(r"('s|(?<!s)s)$")
_SUFFIX = re.compile(r"(ing|ed|ie|y|e)$")
_WARM = re.compile(
    r"(happ(y|il|ier)|smil|laugh|hug|proud|glad|lov(e|ing)|friend|thank|kind)[a-z]*|fun|safe(ly)?|home|play(s|ed|ing)?"
)
# What prompts say to the writer, and words that carry no subject.
_NOT_SUBJECTS = frozenset(
    """a about again all an and animal answer are as at be because but by can cannot could did do does each end ending
    every few find finds finish for from had happy has have he her him his how i in into is it its learns like little
    long longer made make makes me more my named no not of on one or other our out please sad say she short so some
    something story tell than that the their them then there these they thing things think this three to too two up us
    very want wants was way ways we were what when where which who why will with word words would write yes yet you
    your""".split()  # noqa: SIM905
)


def _stem(word: str) -> str:
    """Roughly: kite and kites, story and stories, help and helped are one."""
    single = _PLURAL.sub("", word)
    stem = _SUFFIX.sub("", single)
    return stem if len(stem) >= 2 else single


def subjects(messages: Sequence[dict[str, str]]) -> set[str]:
    """The words that a prompt is about: of the last line of its last turn, without instructions."""
    last_line = messages[-1]["content"].strip().splitlines()[-1].lower()
    return {_stem(word) for word in _WORD.findall(last_line) if word not in _NOT_SUBJECTS and len(word) > 1}


def share_mentioned(messages: Sequence[dict[str, str]], text: str) -> float:
    wanted = subjects(messages)
    found = {_stem(word) for word in _WORD.findall(text.lower())}
    return len(wanted & found) / len(wanted) if wanted else 1.0


def share_repeated(text: str) -> float:
    """How much of the text's trigrams have stood in it before."""
    words = _WORD.findall(text.lower())
    trigrams = Counter(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(trigrams) / trigrams.total() if trigrams else 0.0


def warmth_of_ending(text: str) -> float:
    """Words of gladness, friendship or safety among the last 30, as a share of the 2 that are enough."""
    warm = sum(bool(_WARM.fullmatch(word)) for word in _WORD.findall(text.lower())[-LAST_WORDS:])
    return min(1.0, warm / ENOUGH_WARM_WORDS)


def utility(messages: Sequence[dict[str, str]], text: str) -> float:
    """2 × share of the prompt's words mentioned + 1.5 × warmth of the ending + 0.5 for ending properly
    − 2 × share of repeated trigrams − 2 × what is missing of 40 words, as a share. 4 at most."""
    missing = max(0.0, 1 - len(text.split()) / ENOUGH_WORDS)
    ends = bool(_ENDS_PROPERLY.search(text.strip()))
    return (
        MENTIONS * share_mentioned(messages, text)
        + WARMTH * warmth_of_ending(text)
        + ENDING * ends
        - REPETITION * share_repeated(text)
        - BREVITY * missing
    )


def ranks_of(scores: Sequence[float], tie_width: float) -> list[int]:
    """Dense ranks, 1 for the best. What is less than `tie_width` below the best of a rank is in that rank."""
    ranks, rank, top = [0] * len(scores), 0, float("inf")
    for position in sorted(range(len(scores)), key=lambda each: -scores[each]):
        if top - scores[position] >= tie_width:
            rank, top = rank + 1, scores[position]
        ranks[position] = rank
    return ranks


def agreement(first: Sequence[int], second: Sequence[int]) -> tuple[int, int]:
    """Pairs that neither ranking ties, and how many of them both order alike (as Stiennon 2020, C.2)."""
    pairs = alike = 0
    for a, b in combinations(range(len(first)), 2):
        one, other = first[a] - first[b], second[a] - second[b]
        if one and other:
            pairs += 1
            alike += (one > 0) == (other > 0)
    return pairs, alike


def expected_agreement(differences: Sequence[float], noise: float) -> float:
    """How often two labelers with this noise order alike a pair that neither ties, over pairs this far apart."""
    alike = untied = 0.0
    for difference in differences:
        up = _normal((difference / noise - TIE_WIDTH) / sqrt(2))
        down = _normal((-difference / noise - TIE_WIDTH) / sqrt(2))
        alike += up**2 + down**2
        untied += (up + down) ** 2
    return alike / untied if untied else 1.0


def calibrate_noise(utilities: Sequence[Sequence[float]], wanted: float) -> float:
    """The standard deviation of the noise with which two labelers of these items agree as often as wanted."""
    differences = [a - b for item in utilities for a, b in combinations(item, 2)]
    low, high = 0.01, 20.0
    for _ in range(40):
        middle = (low + high) / 2
        if expected_agreement(differences, middle) > wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _normal(z: float) -> float:
    return (1 + erf(z / sqrt(2))) / 2
