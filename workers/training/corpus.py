"""Text to pretrain on: read and cleaned, titled from its own words, tokenized, and packed into rows."""

import gzip
import json
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from workers.training.titles import learn_nouns, make_title

END_OF_TEXT, PAD = "<|endoftext|>", "<|pad|>"

# A prompt stands before its completion as a title before its story, which is how the model meets prompts here: in
# another form, such as "User: ... Assistant:", so small a model heeds them less.
TITLE_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}{{ message['content'] }}"
    "{% if loop.last and message['role'] == 'assistant' %}{{ eos_token }}{% else %}{{ '\\n\\n' }}{% endif %}"
    "{% endfor %}"
)

# UTF-8 that was once read as Windows-1252, then typographic marks: the tokenizer needs neither.
MENDED = {
    "â€œ": '"', "â€\x9d": '"', "â€™": "'", "â€˜": "'", "â€”": " - ", "â€“": " - ", "â€¦": "...", "â€": '"',
    "“": '"', "”": '"', "’": "'", "‘": "'", "—": " - ", "–": " - ", "…": "...", "\u00a0": " ", "\r": "",
}  # fmt: skip


class CannotRead(ValueError):
    """A text file is wrong: what, where, and how to mend it."""


@dataclass(frozen=True, slots=True)
class SourcedText:
    source: str
    text: str


def clean(text: str) -> str:
    for broken, mended in MENDED.items():
        text = text.replace(broken, mended)
    text = re.sub(r"[ \t]+", " ", text)
    text = re.sub(r" ?\n ?", "\n", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def read_texts(paths: Iterable[Path], sources: Sequence[str] = ()) -> list[SourcedText]:
    """Every document of `sources` (all when empty) in JSONL files of {"source", "text"}, plain or gzipped."""
    found = [text for path in paths for text in read_file(path)]
    kept = [text for text in found if text.text and (not sources or text.source in sources)]
    missing = set(sources) - {text.source for text in kept}
    if missing:
        known = ", ".join(sorted({text.source for text in found})) or "none"
        raise CannotRead(f"no document of source {', '.join(sorted(missing))}; sources in the files: {known}")
    if not kept:
        raise CannotRead('no documents found; each line must be JSON like {"source": "stories", "text": "Once ..."}')
    return kept


def read_file(path: Path) -> list[SourcedText]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            return [read_line(line, f"{path}, line {n}") for n, line in enumerate(lines, 1) if line.strip()]
    except FileNotFoundError:
        raise CannotRead(f"{path} does not exist; give a JSONL file, plain or .gz") from None
    except (OSError, EOFError, UnicodeDecodeError) as problem:
        raise CannotRead(
            f"{path} cannot be read as UTF-8 JSONL ({problem}); write it again as .jsonl or .jsonl.gz"
        ) from None


def read_line(line: str, where: str) -> SourcedText:
    try:
        row = json.loads(line)
        source, text = row["source"], row["text"]
    except (json.JSONDecodeError, KeyError, TypeError):
        raise CannotRead(f'{where}: not JSON with "source" and "text"; mend or remove the line') from None
    if not isinstance(source, str) or not isinstance(text, str):
        raise CannotRead(f'{where}: "source" and "text" must both be strings; mend or remove the line')
    return SourcedText(source, clean(text))


def train_tokenizer(texts: Iterable[str], *, vocabulary: int, context: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE; <|endoftext|> is 0 and stands at both ends of a document, <|pad|> is 1."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=PAD,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
        chat_template=TITLE_TEMPLATE,
    )


def cut_prose(text: str, *, characters: int) -> list[str]:
    """Long prose in pieces of whole paragraphs of up to `characters`; a longer paragraph is left out."""
    pieces, piece = [], ""
    for paragraph in (p for p in text.split("\n") if 0 < len(p) <= characters):
        if piece and len(piece) + len(paragraph) >= characters:
            pieces.append(piece)
            piece = ""
        piece = f"{piece}\n{paragraph}" if piece else paragraph
    return [*pieces, piece] if piece else pieces


def pack_rows(documents: Iterable[list[int]], *, context: int, end: int, waiting: int = 32) -> list[list[int]]:
    """Whole documents packed into rows of at most `context` tokens: end, document, end, document, end.

    Each document goes to the fullest of up to `waiting` open rows that still has room, so that no story is cut and
    the end of every story is learnt. Documents that fit no row are left out.
    """
    rows: list[list[int]] = []
    open_rows: list[list[int]] = []
    for document in documents:
        if len(document) + 2 > context:
            continue
        fitting = [row for row in open_rows if len(row) + len(document) + 1 <= context]
        if fitting:
            row = max(fitting, key=len)
        else:
            row = [end]
            open_rows.append(row)
            rows.append(row)
        row.extend([*document, end])
        if len(open_rows) > waiting:
            open_rows.remove(max(open_rows, key=len))
    return rows


@dataclass(frozen=True, slots=True)
class Corpus:
    """Stories, which may get titles, and what is read beside them until the learning rate falls."""

    stories: list[str]
    beside: list[str]
    nouns: set[str]

    @classmethod
    def of(cls, texts: Sequence[SourcedText], *, stories: Sequence[str], context: int) -> "Corpus":
        told = [text.text for text in texts if text.source in stories]
        beside = [
            piece
            for text in texts
            if text.source not in stories
            for piece in cut_prose(text.text, characters=3 * context)
        ]
        return cls(told, beside, learn_nouns(told))

    def documents(self, epoch: int, *, seed: int, titled: float, only_stories: bool) -> list[str]:
        """One pass in an order of its own; a share of `titled` of the stories gets a title, a new one each time."""
        chance = random.Random(f"{seed}:{epoch}")
        told = []
        for story in self.stories:
            title = make_title(story, self.nouns, chance) if chance.random() < titled else None
            told.append(f"{title}\n\n{story}" if title else story)
        documents = told if only_stories else [*told, *self.beside]
        chance.shuffle(documents)
        return documents
