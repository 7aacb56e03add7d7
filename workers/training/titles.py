"""Titles for stories, made by rule from their own words, so that a model can later be steered by a prompt."""

import random
import re
from collections import Counter
from collections.abc import Iterable

WORD = re.compile(r"[A-Za-z']+|[.,!?]")
DETERMINERS = {"a", "an", "the", "his", "her", "their", "my", "your", "some", "this"}
# What may follow a noun but hardly an adjective: "a big dog" has a word after `big`, "the dog was" one of these.
FOLLOWERS = """
. , ! ? and was were is had in on to with for at from of that who which but named called so could would then
said did went because when while until as into up down about
"""
AFTER_NOUN = frozenset(FOLLOWERS.split())
PLAIN = """
time day one way thing things lot end name something nothing everyone other rest place more while bit world
morning others many much all two three left right side top that this it them him her me you what both first
"""
NEVER_SUBJECT = AFTER_NOUN | DETERMINERS | set(PLAIN.split())
AFRAID = re.compile(r"\b(?:afraid|scared) of (?:the |a |an )?([a-z]{3,})")
NAMED = re.compile(r"\b[Aa]n? ((?:little |big |small |old |young )?[a-z]{3,}) (?:named|called) ([A-Z][a-z]+)")
HAPPY = re.compile(r"\b(happy|happily|smiled|laughed|hugged|proud|glad)\b")
SAD = re.compile(r"\b(sad|cried|crying|sorry|lost|hurt|alone)\b")
FORMS = (
    "Write a story about {}.",
    "Write a short story about {}.",
    "Tell me a story about {}.",
    "A story about {}.",
    "Please write a story about {}.",
    "Write a little story about {} for children.",
)
ENDINGS = {"happy": " with a happy ending", "sad": " with a sad ending"}


def learn_nouns(stories: Iterable[str], *, share: float = 0.2, at_least: int = 6) -> set[str]:
    """Words that stand as nouns often enough: a determiner before them and no other word they could describe after."""
    seen: Counter[str] = Counter()
    as_noun: Counter[str] = Counter()
    for story in stories:
        words = WORD.findall(story)
        seen.update(word for word in words if word.islower())
        for before, word, after in zip(words, words[1:], words[2:], strict=False):
            if before.lower() in DETERMINERS and after.lower() in AFTER_NOUN:
                as_noun[word] += 1
    return {
        word
        for word, count in as_noun.items()
        if len(word) > 2 and word.islower() and "'" not in word and word not in NEVER_SUBJECT
        and count >= at_least and count >= share * seen[word]
    }  # fmt: skip


def with_article(noun: str, chance: random.Random) -> str:
    if noun.endswith("s") and not noun.endswith("ss"):
        return noun
    article = "an" if noun[0] in "aeiou" else "a"
    return f"{chance.choice((article, article, 'the'))} {noun}"


def name_subject(story: str, nouns: set[str], chance: random.Random) -> str | None:
    """What the story is about, as words for a title; None when the rule finds nothing."""
    named = NAMED.search(story[:300])
    feared = AFRAID.search(story)
    counts = Counter(word for word in WORD.findall(story) if word in nouns)
    frequent = [noun for noun, count in counts.most_common(4) if count > 1]
    chance.shuffle(frequent)
    if named:
        hero = with_article(named[1], chance).replace("the ", "a ", 1)
        hero = f"{hero} named {named[2]}" if chance.random() < 0.5 else hero
        frequent = [noun for noun in frequent if noun not in named[1]]
    elif frequent:
        hero = with_article(frequent.pop(), chance)
    else:
        return None
    if feared and feared[1] in nouns:
        return f"{hero} who is afraid of {feared[1]}"
    others = [with_article(noun, chance) for noun in frequent[: chance.randint(0, 2)]]
    return " and ".join([", ".join([hero, *others[:-1]]), *others[-1:]])


def make_title(story: str, nouns: set[str], chance: random.Random) -> str | None:
    """A line like "Write a story about a dog and the rain.", worded by `chance`."""
    subject = name_subject(story, nouns, chance)
    if subject is None:
        return None
    last = story[-200:].lower()
    mood = "happy" if HAPPY.search(last) else "sad" if SAD.search(last) else ""
    if mood and chance.random() < 0.3:
        subject += chance.choice((",", "")) + ENDINGS[mood]
    return chance.choice(FORMS).format(subject)
