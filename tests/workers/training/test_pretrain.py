"""The starter model's pretraining: reading, titles, packing, Muon, a run of seconds, resuming it, refusals."""

import gzip
import json
import random
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from workers.training import pretrain  # noqa: E402
from workers.training.corpus import CannotRead, clean, cut_prose, pack_rows, read_texts, train_tokenizer  # noqa: E402
from workers.training.muon import Muon, orthogonalize  # noqa: E402
from workers.training.sample_stories import is_worth_keeping  # noqa: E402
from workers.training.titles import learn_nouns, make_title  # noqa: E402

pytestmark = pytest.mark.train

STARTER = Path(__file__).parents[3] / "workers" / "starter"
ANIMALS = ("dog", "cat", "frog", "bear", "duck", "mouse", "goat", "bird")
PLACES = ("park", "house", "garden", "river", "forest", "school")


def make_story(number: int) -> str:
    hero, place = ANIMALS[number % 8], PLACES[number % 6]
    return (
        f"Once upon a time, there was a little {hero} named Tim. One day, the {hero} went to the {place}. "
        f'"I like the {place}," said the {hero}. Then the rain came and the {hero} ran home. '
        f"The {hero} was afraid of the rain. But in the end the {hero} was happy and smiled."
    )


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.jsonl.gz"
    rows = [{"source": "stories", "text": make_story(n)} for n in range(60)]
    rows += [{"source": "prose", "text": "It was long ago.\nThe river ran to the sea."}] * 3
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def launch(text: Path, out: Path, *more: str) -> None:
    tiny = "--layers 2 --width 32 --heads 2 --vocabulary 320 --context 128 --batch 2 --threads 1".split()  # noqa: SIM905
    budget = [] if "--minutes" in more or "--steps" in more else ["--steps", "6"]
    pretrain.main(["--text", str(text), "--sources", "stories", "--out", str(out), *tiny, *budget, *more])


def test_a_run_writes_a_model_that_the_auto_classes_load(text, tmp_path, capsys):
    launch(text, tmp_path / "model", "--beside", "prose")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 0, 1)
    asked = tokenizer.apply_chat_template([{"role": "user", "content": "A story about a dog."}], tokenize=False)
    assert asked == "<|endoftext|>A story about a dog.\n\n"
    assert model.dtype == torch.bfloat16
    assert model.config.tie_word_embeddings
    story = make_story(3)
    assert tokenizer.decode(tokenizer(story)["input_ids"]) == story
    last = next(json.loads(line) for line in reversed(capsys.readouterr().out.splitlines()) if line.startswith("{"))
    assert last["step"] == 6
    assert 0 < last["nats_per_byte"] < last["nats_per_token"]


def test_training_lowers_the_held_out_loss(text, tmp_path, capsys):
    losses = []
    for steps in ("1", "40"):
        launch(text, tmp_path / steps, "--steps", steps)
        reported = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
        losses.append(reported[-1]["nats_per_token"])
    assert losses[1] < 0.7 * losses[0]


def test_a_killed_run_resumed_ends_with_the_same_weights(text, tmp_path, monkeypatch):
    launch(text, tmp_path / "whole", "--steps", "8")
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(pretrain, "report", killed_at(step=5))
        run_args = ["--text", str(text), "--sources", "stories", "--out", str(tmp_path / "half"), "--steps", "8"]
        tiny = "--layers 2 --width 32 --heads 2 --vocabulary 320 --context 128 --batch 2 --threads 1".split()  # noqa: SIM905
        args = pretrain.parse_arguments([*run_args, *tiny, "--save-every", "0"])
        pretrain.train(*pretrain.prepare(args))
    launch(text, tmp_path / "half", "--steps", "8", "--resume")
    whole, half = (
        torch.load(tmp_path / name / "checkpoint" / "state.pt", weights_only=True) for name in ("whole", "half")
    )
    assert half["progress"]["step"] == 8
    for name, tensor in whole["model"].items():
        assert torch.equal(tensor, half["model"][name]), name


def killed_at(*, step: int):
    def report(run, valid, *, samples):
        if run.progress.step == step:
            raise KeyboardInterrupt

    return report


def test_a_run_is_not_overwritten_without_resume(text, tmp_path):
    launch(text, tmp_path / "model")
    with pytest.raises(SystemExit, match="already holds a run; go on with --resume"):
        launch(text, tmp_path / "model")


def test_a_checkpoint_of_another_shape_is_not_resumed(text, tmp_path):
    launch(text, tmp_path / "model")
    with pytest.raises(SystemExit, match="another text, shape or seed"):
        launch(text, tmp_path / "model", "--resume", "--seed", "2")


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--resume",), "nothing to resume"),
        (("--steps", "0"), "must be more than 0"),
        (("--width", "30"), "multiple of twice --heads"),
        (("--layers", "0"), "--layers must be at least 1"),
        (("--titled", "35"), "--titled is a share"),
        (("--context", "16"), "no document fits into a context of 16"),
        (("--beside", "sermons"), "no document of source sermons; sources in the files: prose, stories"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_the_reason(text, tmp_path, flags, reason):
    with pytest.raises(SystemExit, match=reason):
        launch(text, tmp_path / "model", *flags)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"source": "a", "text": "b"}\nnot json\n', "line 2: not JSON"),
        (b'{"text": "b"}\n', 'line 1: not JSON with "source" and "text"'),
        (b'{"source": "a", "text": 3}\n', "must both be strings"),
        (b"\xff\xfe", "cannot be read as UTF-8 JSONL"),
        (b"", "no documents found"),
    ],
)
def test_a_broken_file_is_refused_with_its_place(tmp_path, content, reason):
    path = tmp_path / "text.jsonl"
    path.write_bytes(content)
    with pytest.raises(CannotRead, match=reason):
        read_texts([path])


def test_a_missing_file_and_a_file_that_is_not_gzip_are_refused(tmp_path):
    with pytest.raises(CannotRead, match="does not exist"):
        read_texts([tmp_path / "none.jsonl"])
    path = tmp_path / "plain.jsonl.gz"
    path.write_text('{"source": "a", "text": "b"}\n')
    with pytest.raises(CannotRead, match="cannot be read"):
        read_texts([path])


def test_cleaning_mends_quotes_and_space():
    assert clean("She said â€œHiâ€. \r\n\n\n\nIt’s  late… ") == 'She said "Hi".\n\nIt\'s late...'


def test_prose_is_cut_between_paragraphs():
    assert cut_prose("one one\ntwo two\nthree", characters=16) == ["one one\ntwo two", "three"]


def test_packed_rows_hold_whole_documents_between_ends_and_none_is_lost():
    chance = random.Random(0)
    documents = [[n] * chance.randint(1, 40) for n in range(1, 200)]
    rows = pack_rows(documents, context=64, end=0)
    assert max(map(len, rows)) <= 64
    assert all(row[0] == 0 and row[-1] == 0 for row in rows)
    packed = sorted(part for row in rows for part in split_at_ends(row))
    assert packed == sorted(documents)
    assert sum(map(len, rows)) / (64 * len(rows)) > 0.8


def split_at_ends(row: list[int]) -> list[list[int]]:
    parts: list[list[int]] = [[]]
    for token in row[1:]:
        if token == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts[:-1]


def test_a_document_longer_than_the_context_is_left_out():
    assert pack_rows([[5] * 15, [6] * 14], context=16, end=0) == [[0, *[6] * 14, 0]]


def test_titles_come_from_the_storys_own_words():
    stories = [make_story(n) for n in range(60)]
    nouns = learn_nouns(stories)
    assert set(ANIMALS) <= nouns
    assert not nouns & {"little", "was", "happy", "time"}
    titles = [make_title(stories[0], nouns, random.Random(n)) for n in range(30)]
    assert all("dog" in title for title in titles)
    assert any("afraid of rain" in title for title in titles)
    assert any("with a happy ending" in title for title in titles)
    assert make_title("Nothing to see.", nouns, random.Random(0)) is None


def test_orthogonalize_brings_singular_values_near_one():
    torch.manual_seed(0)
    for shape in ((3, 16, 48), (2, 48, 16), (1, 32, 32)):
        values = torch.linalg.svdvals(orthogonalize(torch.randn(shape), iterations=7))
        assert values.min() > 0.5
        assert values.max() < 1.3


def test_muon_finds_the_least_squares_solution():
    torch.manual_seed(0)
    wanted, inputs = torch.randn(8, 4), torch.randn(64, 4)
    matrix = torch.nn.Parameter(torch.zeros(8, 4))
    optimizer = Muon([matrix], lr=0.1)
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 200)
        optimizer.zero_grad()
        loss = ((inputs @ (matrix - wanted).T) ** 2).mean()
        loss.backward()
        optimizer.step()
    assert loss < 0.01


def test_sampled_stories_that_repeat_or_invent_words_are_dropped():
    story = " ".join(make_story(n) for n in (0, 1, 2, 3))
    known = {word.strip('.,"!').lower() for word in story.split()}
    fresh = " ".join(f"{a} saw {b}" for a in ANIMALS for b in PLACES) + "."
    assert is_worth_keeping(fresh, {*ANIMALS, *PLACES, "saw"})
    assert not is_worth_keeping(fresh, known - {"dog"})
    assert not is_worth_keeping("the dog ran home. " * 30, known)
    assert not is_worth_keeping("The dog ran.", known)


def test_the_same_text_gives_the_same_tokenizer():
    stories = [make_story(n) for n in range(20)]
    first, second = (train_tokenizer(stories, vocabulary=300, context=64).get_vocab() for _ in range(2))
    assert first == second
    assert (first["<|endoftext|>"], first["<|pad|>"]) == (0, 1)


def test_the_committed_starter_model_is_small_whole_and_tells_a_story():
    size = sum(path.stat().st_size for path in STARTER.iterdir())
    assert size <= 12_000_000
    tokenizer = AutoTokenizer.from_pretrained(STARTER)
    model = AutoModelForCausalLM.from_pretrained(STARTER, dtype=torch.float32).eval()
    assert 3_000_000 <= model.num_parameters() <= 8_000_000
    assert model.config.max_position_embeddings == 512
    start = torch.tensor([[tokenizer.bos_token_id, *tokenizer("Once upon a time")["input_ids"]]])
    told = model.generate(start, attention_mask=torch.ones_like(start), max_new_tokens=40, do_sample=False)
    assert tokenizer.decode(told[0], skip_special_tokens=True).startswith("Once upon a time, there was a")
