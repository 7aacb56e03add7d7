"""Which language a text is in, by a small model that needs no network: the paper had langid.py (A.4)."""

FEWEST_LETTERS = 20  # of less nobody can tell


def language_of(text: str) -> str | None:
    """Its ISO 639-1 code; none for a text that is too short to tell."""
    if sum(sign.isalpha() for sign in text) < FEWEST_LETTERS:
        return None
    from py3langid import classify  # it takes a second to load its model: once, where it is needed

    return str(classify(text)[0])
