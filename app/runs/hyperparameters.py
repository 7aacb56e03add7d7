"""docs/hyperparameters.md: every setting of every kind of run, written from the configs and their presets.

`python -m app.runs.hyperparameters` writes it anew.
"""

from pathlib import Path

from app.runs import forms
from app.runs.configs import RunKind
from app.runs.kinds import CONFIGS
from app.runs.presets import LARGE, SIZES, TINY, Preset, presets
from app.runs.schemas import kind_name

FILE = Path(__file__).parents[2] / "docs" / "hyperparameters.md"

_ABOUT = f"""# Hyperparameters

Every setting of every kind of run: what the paper (Ouyang et al. 2022) gives for its three sizes, and what Touchstone
offers for smaller models. This file is written by `python -m app.runs.hyperparameters` from `app/runs/configs.py`,
`app/runs/ppo_config.py`, `app/runs/newer_configs.py` (methods that came after the paper) and `app/runs/presets.py`; a
test compares them.

- The form of a new run starts from the values for a model of its size: from {LARGE:.0e} parameters on those of the
  paper's size whose ratio to it is nearest to 1 (6B from 2.8e9, 175B from 3.2e10 parameters), below that the scaled
  ones. Any column can be filled in by hand: *Fill in* on the form, or `?preset=` in its address with the name that
  stands in the column's head.
- A value is **bold** where it is the paper's own, its section in the last column; all others are our recommendation
  (REC), because the paper gives none, or because a smaller model wants another.
- The scaled values were chosen on the starter model of 4.7 million parameters and on SmolLM2-135M; DPO's were tried on
  the starter only, and RLOO's follow PPO's.
- The paper trained one reward model, of 6B, for policies of every size.
- The policy that PPO starts from is not the SFT model: it has a preset of its own, `initial` for the model's own size.
- Not settings, because nothing in the paper varies them: the reward head's first weights are drawn from N(0, 1/(d + 1))
  (Stiennon et al. 2020, B.1); a prompt's pairs are one element of a batch (3.5); a bias sets the demonstrations' mean
  reward to 0 (C.2); dropout is off in reward model and PPO; the value network starts as the reward model and the KL is
  measured from the policy that PPO started with (C.3, C.4).
"""


def as_markdown() -> str:
    return "\n\n".join([_ABOUT.strip(), *(_section(kind) for kind in RunKind)]) + "\n"


def _section(kind: RunKind) -> str:
    about = (CONFIGS[kind].__doc__ or "").strip()
    return f"## {kind_name(kind)}\n\n{about}\n\n{_table(kind)}"


def _columns(kind: RunKind) -> list[tuple[str, Preset]]:
    """Each column's head and its values: the paper's sizes, then what smaller models are offered."""
    named = {preset.name: preset for preset in presets(kind, TINY - 1)}
    columns = [(f"{size} `{name}`", named[name]) for stem in ("paper", "initial") for size in SIZES
               if (name := f"{stem}-{size.lower()}") in named]  # fmt: skip
    columns = columns or [("from 1e9 parameters", presets(kind, LARGE)[0])]
    smaller = [("from 5e7 parameters", TINY), ("fewer", TINY - 1)]
    columns += [(head, presets(kind, size)[0]) for head, size in smaller]
    return columns + [(f"{head} `initial`", preset) for head, size in smaller
                      for preset in presets(kind, size) if preset.name == "initial"]  # fmt: skip


def _table(kind: RunKind) -> str:
    columns = _columns(kind)
    rows = [["setting", *(head for head, _ in columns), "what it is", "the paper"]]
    rows += [["---"] * len(rows[0])]
    for name, info in CONFIGS[kind].model_fields.items():
        cells = [_cell(preset, name) for _, preset in columns]
        rows.append([f"`{name}`", *cells, info.description or "", forms.paper_says(info)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(preset: Preset, name: str) -> str:
    value = getattr(preset.config, name)
    text = "yes" if value is True else "no" if value is False else forms.written(value)
    return f"**{text}**" if preset.origin(name).startswith("The paper's") else text


if __name__ == "__main__":
    FILE.write_text(as_markdown(), encoding="utf-8")
