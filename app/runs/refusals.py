"""Models and settings of a new run that don't go together, refused in words before anything is frozen."""

import uuid
from collections.abc import Mapping

from app.core.errors import Invalid
from app.registry.models import Model
from app.runs.configs import RunConfig
from app.runs.schemas import ENSEMBLE, PREFIX_OF, SamplingPlan


def refuse_short_context(config: RunConfig, models: Mapping[str, Model]) -> None:
    """A prompt and its completion must fit the shortest context among the models."""
    tokens = config.max_prompt_tokens + config.max_completion_tokens
    for model in models.values():
        if model.context is not None and tokens > model.context:
            raise Invalid(
                f"A prompt of {config.max_prompt_tokens} and a completion of {config.max_completion_tokens} tokens are "
                f"{tokens} together, and {model.name} reads at most {model.context}.",
                mend="Lower max_prompt_tokens or max_completion_tokens.",
                fields={"max_completion_tokens": f"Prompt and completion must fit in {model.context} tokens."},
            )


def refuse_bad_sampling(config: RunConfig, models: Mapping[str, Model], prefixes: Mapping[str, uuid.UUID]) -> None:
    if not isinstance(config, SamplingPlan):
        return
    if config.best_of > 1 and "reward_model" not in models:
        raise Invalid(
            f"The best of {config.best_of} is chosen by a reward model, and none is.",
            mend="Choose one to score with, or set best of to 1.",
            fields={"reward_model": "Needed to choose by.", "best_of": "1 needs no reward model."},
        )
    writers = {part: model.id for part, model in models.items() if part != "reward_model"}
    for part, prefix_part in PREFIX_OF.items():
        if prefix_part in prefixes and part not in writers:
            said = "It has no model to stand before."
            raise Invalid(said, mend="Choose the model, or no prefix.", fields={prefix_part: said})
    _refuse_same_writer(config, {part: (id_, prefixes.get(PREFIX_OF[part])) for part, id_ in writers.items()})
    shown = config.completions_per_prompt * len(writers)
    if not 2 <= shown <= 9:
        raise Invalid(
            f"{shown} completions would stand in each ranking; a labeler can order 2 to 9.",
            mend="The paper shows 4 to 9.",
            fields={"completions_per_prompt": f"{len(writers)} models × this must be 2 to 9."},
        )


Writer = tuple[uuid.UUID, uuid.UUID | None]  # a model and its prefix


def _refuse_same_writer(config: SamplingPlan, writers: Mapping[str, Writer]) -> None:
    """Twice the same model says nothing, unless it has another prefix, or the first time it is the best of several,
    beside itself as drawn."""
    differs = config.best_of > 1 and config.best_of_models == "first"
    alike = [id_ for part, id_ in writers.items() if not (differs and part == "model")]
    if len(set(alike)) < len(alike):
        raise Invalid(
            "The same model is chosen twice.",
            mend="Ask for more completions of it, give it a prefix, or take the best of several of the first.",
        )


def refuse_bad_ensemble(models: Mapping[str, Model]) -> None:
    """Each reward model is one voice, and the one that watches is none of them."""
    trained_on = {part: model for part, model in models.items() if part in ("reward_model", *ENSEMBLE)}
    seen: set[uuid.UUID] = set()
    for part, model in trained_on.items():
        if model.id in seen:
            raise Invalid(
                f"{model.name} is chosen twice.",
                mend="Choose another reward model, or none.",
                fields={part: "It is chosen above already."},
            )
        seen.add(model.id)
    if "watch" in models and models["watch"].id in seen:
        raise Invalid(
            f"{models['watch'].name} is trained on, so it can't watch as well.",
            mend="A watching reward model shows over-optimisation only if the policy never sees its scores.",
            fields={"watch": "Choose one that the policy isn't optimised for."},
        )
