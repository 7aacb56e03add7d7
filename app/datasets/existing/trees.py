"""Open-Assistant's trees: each prompter's turn with its replies, which volunteers ranked."""

from collections.abc import Iterator

from app.datasets.existing.plain import Candidate, Labeled, NotThisShape, Order, Turn, Values, Written, text_of

CONSENSUS = "consensus of volunteers"


def trees(values: Values) -> Iterator[Labeled]:
    """Where a turn has two ranked replies or more, a ranking; the best that a person wrote is a demonstration."""
    if not isinstance(values["prompt"], dict):
        raise NotThisShape("`prompt` is no message with its replies")
    facts = {
        "organisation": str(values.get("message_tree_id") or ""),
        "language": str(values["prompt"].get("lang") or "en"),
    }
    yield from _below(values["prompt"], [], facts)


def _below(turn: Values, before: list[Turn], facts: Values) -> Iterator[Labeled]:
    role = "assistant" if turn.get("role") == "assistant" else "user"
    said = [*before, {"role": role, "content": text_of(turn.get("text"), "text")}]
    replies = [reply for reply in turn.get("replies") or [] if _counts(reply)]
    if role == "user" and replies:
        yield _labeled(said, replies, facts)
    for reply in replies:
        yield from _below(reply, said, facts)


def _counts(reply: Values) -> bool:
    """What volunteers deleted or took for spam is left out."""
    return not reply.get("deleted") and reply.get("review_result") is not False and bool(reply.get("text"))


def _labeled(said: list[Turn], replies: list[Values], facts: Values) -> Labeled:
    ranked = [reply for reply in replies if isinstance(reply.get("rank"), int)]
    people = [reply for reply in ranked or replies if not reply.get("synthetic")]
    best = min(people, key=lambda reply: reply.get("rank") or 0, default=None)
    written = (Written(text_of(best["text"], "text"), str(best.get("user_id") or "")),) if best else ()
    if len(ranked) < 2:
        return Labeled(said, written=written, about=facts)
    found = tuple(Candidate(text_of(reply["text"], "text"), str(reply.get("model_name") or "")) for reply in ranked)
    order = Order(tuple(1 + reply["rank"] for reply in ranked), CONSENSUS)  # there the best is 0
    return Labeled(said, found, (order,), written, about=facts)
