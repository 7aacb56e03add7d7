"""docs/scaling.md: what fits where, and what a step costs, for models of 1.3B, 7B and 70B parameters.

`python -m benchmarks.scaling` writes it anew; a test compares them, and these formulas with real models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scaling_team import as_section
from benchmarks.scaling_words import ABOUT, COSTS, FITS, HOURS, MANY, MOVED

FILE = Path(__file__).parents[1] / "docs" / "scaling.md"

DAY = 86_400
FP32, BF16 = 4, 2  # bytes
TRAINED, FROZEN = 16, 4  # bytes a parameter: weight, gradient and Adam's two moments in fp32; a weight alone
PPO, PPO_LORA = 2 * TRAINED + 3 * FROZEN, 2 * FROZEN  # policy, value; reference, reward, moving average
EPISODES, BATCH = 256_000, 512  # the paper's (C.4)


@dataclass(frozen=True, slots=True)
class Shape:
    """A Llama-shaped model."""

    name: str
    layers: int
    width: int
    inner: int  # of the MLP
    keys: int  # width of all keys of a token in one layer
    vocabulary: int
    tied: bool = False

    @property
    def in_layers(self) -> int:
        """Weights that a token is multiplied with: queries, outputs, keys, values, and the MLP's three."""
        return self.layers * (2 * self.width**2 + 2 * self.width * self.keys + 3 * self.width * self.inner)

    @property
    def parameters(self) -> int:
        norms = (2 * self.layers + 1) * self.width
        return self.in_layers + norms + (1 if self.tied else 2) * self.vocabulary * self.width

    def forward(self, tokens: float, *, context: float, read: float = 1.0) -> float:
        """FLOPs of one pass over `tokens` tokens in rows of `context`; the head reads a share of them."""
        attention = 2 * self.layers * self.width * context  # scores and values, each causal: half of the square
        return tokens * (2 * self.in_layers + attention + read * 2 * self.vocabulary * self.width)

    def train(self, tokens: float, *, context: float, read: float = 1.0) -> float:
        """Forward, and twice that on the way back."""
        return 3 * self.forward(tokens, context=context, read=read)

    def cache(self) -> int:
        """Bytes of keys and values a token, in bf16."""
        return 2 * self.layers * self.keys * BF16

    def kept(self) -> int:
        """Bytes that a token keeps for the way back: bf16 inputs of every product, and two fp32 residuals a layer."""
        products = 4 * self.width + 2 * self.keys + 3 * self.inner
        return self.layers * (BF16 * products + 2 * FP32 * self.width)

    def kept_recomputing(self) -> int:
        """The same with activation_checkpointing: each layer's input, and one layer whole."""
        return self.layers * FP32 * self.width + self.kept() // self.layers


@dataclass(frozen=True, slots=True)
class Gpu:
    name: str
    memory: float  # bytes
    flops: float  # bf16, dense
    bandwidth: float  # bytes a second of its memory
    link: float  # bytes a second to its neighbours in the node, one way
    network: float  # bytes a second to other nodes


H100 = Gpu("H100 SXM 80 GB", 80e9, 989e12, 3.35e12, 450e9, 50e9)
TRAINING, READING = 0.4, 0.5  # shares of those peaks that well-kept engines reach; assumed, not measured here

SHAPES = (
    Shape("1.3B", 24, 2048, 5504, 2048, 50_257, tied=True),  # depth and width of GPT-3 XL
    Shape("7B", 32, 4096, 11_008, 4096, 32_000),  # Llama 2
    Shape("70B", 80, 8192, 28_672, 1024, 32_000),  # Llama 2, 8 groups of keys
)
GPT3 = Shape("175B", 96, 12_288, 32_768, 12_288, 50_257, tied=True)  # as Llama: 3 x 32,768 is 2 x 49,152


@dataclass(frozen=True, slots=True)
class Work:
    """What the paper's three stages read: its means where it gives them (Tables 6 and 9, App. C), else assumed."""

    demonstrations: int = 12_725
    demonstration_tokens: int = 408 + 38  # mean prompt, mean demonstration
    sft_epochs: int = 16
    rankings: int = 33_207
    ranking_prompt: int = 199
    completions: int = 6  # of 4 to 9
    completion: int = 100  # assumed
    prompt: int = 166
    episode: int = 200  # tokens of a completion, assumed; at most 1,000
    texts: int = 8  # a ptx example for each episode, eight of them
    text_tokens: int = 256  # assumed


PAPER = Work()


def sft_step(shape: Shape, work: Work = PAPER, *, batch: int = 32) -> float:
    tokens = work.demonstration_tokens
    return shape.train(batch * tokens, context=tokens, read=38 / tokens)


def reward_step(shape: Shape, work: Work = PAPER, *, batch: int = 64) -> float:
    """The prompt is encoded once for all completions of its ranking."""
    tokens = work.ranking_prompt + work.completions * work.completion
    return shape.train(batch * tokens, context=work.ranking_prompt + work.completion, read=0)


def rollout(shape: Shape, work: Work = PAPER, *, batch: int = BATCH) -> float:
    """Drawing the episodes, then reference, value and reward over them."""
    tokens, share = work.prompt + work.episode, work.episode / (work.prompt + work.episode)
    drawing = shape.forward(batch * tokens, context=tokens, read=share)
    return 2 * drawing + 2 * shape.forward(batch * tokens, context=tokens, read=0)


def update(shape: Shape, work: Work = PAPER, *, batch: int = BATCH) -> float:
    """One inner epoch of policy and value network."""
    tokens, share = work.prompt + work.episode, work.episode / (work.prompt + work.episode)
    return sum(shape.train(batch * tokens, context=tokens, read=read) for read in (share, 0))


def texts_step(shape: Shape, work: Work = PAPER, *, batch: int = BATCH) -> float:
    return shape.train(batch * work.texts * work.text_tokens, context=work.text_tokens)


def decode_seconds(shape: Shape, gpu: Gpu, work: Work = PAPER, *, batch: int = BATCH) -> float:
    """Drawing `batch` completions side by side: each token reads every weight once, and every row's own cache."""
    cache = batch * (work.prompt + work.episode / 2) * shape.cache()
    return work.episode * (BF16 * shape.parameters + cache) / (READING * gpu.bandwidth)


def seconds(flops: float, gpu: Gpu) -> float:
    return flops / (TRAINING * gpu.flops)


def hours(shape: Shape, gpu: Gpu = H100, work: Work = PAPER) -> dict[str, float]:
    """GPU-hours of the paper's three stages."""
    sft = work.sft_epochs * work.demonstrations / 32 * seconds(sft_step(shape), gpu)
    reward = work.rankings / 64 * seconds(reward_step(shape), gpu)
    iterations = EPISODES / BATCH
    drawing = iterations * decode_seconds(shape, gpu)
    learning = iterations * seconds(rollout(shape) + update(shape), gpu)
    texts = iterations * seconds(texts_step(shape), gpu)
    named = {"SFT": sft, "reward model": reward, "PPO": drawing + learning, "of it drawing": drawing, "ptx": texts}
    return {name: value / 3600 for name, value in named.items()}


def all_reduce(parameters: float, processes: int) -> float:
    """Bytes that each process sends for one sum of all gradients in fp32, in a ring."""
    return 2 * (processes - 1) / processes * FP32 * parameters


def sharded(parameters: float, processes: int) -> float:
    """FSDP: the weights gathered on the way forward and back in bf16, the gradients scattered in fp32."""
    return (processes - 1) / processes * (2 * BF16 + FP32) * parameters


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def gigabytes(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count < 1e11 else f"{count / 1e9:,.0f} GB"


def _fits() -> str:
    def row(name: str, needed: float) -> list[str]:
        return [name, gigabytes(needed), f"{-(-needed // (0.8 * H100.memory)):.0f}"]

    rows = []
    for shape in SHAPES:
        for name, each in (
            ("SFT, reward model", TRAINED),
            ("the same with LoRA", FROZEN),
            ("PPO", PPO),
            ("PPO with LoRA", PPO_LORA),
        ):
            rows.append([shape.name, *row(name, each * shape.parameters)])
    return table(["model", "run", "weights, gradients, Adam", "GPUs of 80 GB that hold it once"], rows)


def _beside() -> str:
    rows = [
        [s.name, f"{s.parameters / 1e9:.2f}e9", f"{s.kept() / 1e6:.2f} MB", f"{s.kept_recomputing() / 1e6:.2f} MB",
         f"{s.cache() / 1e6:.2f} MB", gigabytes(BATCH * (PAPER.prompt + PAPER.episode) * s.cache())]
        for s in SHAPES
    ]  # fmt: skip
    head = ["model", "parameters", "activations a token", "recomputed", "keys and values a token", "of 512 episodes"]
    return table(head, rows)


def _costs() -> str:
    rows = [
        [s.name, *(f"{step(s):.1e}" for step in (sft_step, reward_step, rollout, update, texts_step))] for s in SHAPES
    ]
    head = ["model", "SFT step", "reward-model step", "PPO: draw and measure", "PPO: update", "PPO: ptx"]
    return table(head, rows)


def _hours() -> str:
    found = [(shape, hours(shape)) for shape in SHAPES]
    return table(["model", *found[0][1]], [[s.name, *(f"{n:,.1f}" for n in own.values())] for s, own in found])


def _moved() -> str:
    rows = []
    for shape in SHAPES:
        ring, shards = all_reduce(shape.parameters, 8), sharded(shape.parameters, 8)
        step = seconds(sft_step(shape) / 8, H100)
        rows.append([shape.name, gigabytes(ring), f"{1e3 * ring / H100.link:.0f} ms",
                     f"{1e3 * ring / H100.network:,.0f} ms", gigabytes(shards), f"{1e3 * step:,.0f} ms"])  # fmt: skip
    head = ["model", "gradients, each of 8 GPUs", "within a node", "between nodes", "FSDP", "an SFT step's arithmetic"]
    return table(head, rows)


def petaflop_days() -> tuple[float, float]:
    """The paper's 175B runs (5.1 gives 4.9 and 60), every row as long as its context of 2,048."""
    sft = PAPER.sft_epochs * PAPER.demonstrations * GPT3.train(2048, context=2048)
    texts = EPISODES * PAPER.texts * GPT3.train(2048, context=2048)
    episodes = EPISODES * 4 * GPT3.forward(1024, context=1024)  # drawn, and learned from once
    return sft / 1e15 / DAY, (texts + episodes) / 1e15 / DAY


def as_markdown() -> str:
    sft, ppo = petaflop_days()
    check = HOURS.format(sft=sft, ppo=ppo, training=TRAINING, reading=READING)
    parts = [ABOUT, MANY, FITS, _fits(), _beside(), COSTS, _costs(), check, _hours(), MOVED, _moved(), as_section()]
    return "\n\n".join(part.strip() for part in parts) + "\n"


if __name__ == "__main__":
    FILE.write_text(as_markdown(), encoding="utf-8")
