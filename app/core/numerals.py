"""Numbers as a person reads them."""


def thousands(number: float) -> str:
    return f"{number:,.0f}"


def minus(number: int | str) -> str:
    """A whole number with a minus, not a hyphen, before one below 0."""
    return str(number).replace("-", "\u2212")
