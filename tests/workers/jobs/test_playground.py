"""The playground's worker: what it draws, what it says of it, and how it ends, behind a real Redis."""

import signal
import uuid
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import torch
from sqlalchemy import update
from transformers import AutoModelForCausalLM, PreTrainedModel

from app.core.config import Settings
from app.core.db import writing
from app.core.queue import Queue
from app.core.storage import get_artefacts
from app.playground import line, service
from app.playground.board import Board, State, board_of
from app.playground.line import Asked, Standing
from app.playground.questions import Question
from app.registry.models import Model, ModelKind, ModelState
from app.runs import workers
from app.runs.configs import RunKind
from tests.conftest import forget_settings
from tests.factories import make_model
from tests.workers.jobs.conftest import World
from tests.workers.jobs.processes import eventually, running_redis, running_worker
from tests.workers.tiny import save_base, tiny_config
from workers.jobs import playground
from workers.jobs.playground import Writing, _tell, answer
from workers.jobs.pulse import Pulse
from workers.jobs.shelf import Shelf
from workers.jobs.told import Told
from workers.training.batching import decode_completion, encode_prompt
from workers.training.beside import Progress, Voice
from workers.training.models import load_policy, load_tokenizer, new_reward_model, save_reward_model
from workers.training.rollout import Decoding, Drawn, draw_completions, stop_ids, uniform_numbers

pytestmark = pytest.mark.train
TURNS = [{"role": "user", "content": "Write a story about a dog."}]


@pytest.fixture
def client(installation: Settings) -> Iterator[redis.Redis]:
    with running_redis(installation), line.connected() as client:
        yield client


@pytest.fixture
def second(world: World, tmp_path: Path) -> Model:
    """Another model, with other weights and a long context, which at temperature 0 never ends by itself."""
    folder = save_base(tmp_path / "second", tiny_config(max_position_embeddings=8192, hidden_size=128), seed=1)
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.get_input_embeddings().weight.data[0] = 0.0  # the end's logit is 0, and another one is higher
    model.save_pretrained(folder)
    return _stored(world, folder, "second", ModelKind.policy)


def _stored(world: World, folder: Path, name: str, kind: ModelKind) -> Model:
    with writing() as session:
        model = make_model(session, world.project, name=name, kind=kind)
        model.storage_key, model.parameters = f"models/{model.id}", 30_000
        get_artefacts().put_folder(model.storage_key, folder)
    return model


def _ask(world: World, client: redis.Redis, *models: Model, **changes: object) -> Asked:
    left, right = [*(model.id for model in models), None][:2]
    settings = {"left": left, "right": right, "messages": TURNS, "max_new_tokens": 24, "seed": 7, **changes}
    question = Question.model_validate(settings)
    asked = Asked(uuid.uuid4(), world.admin.id, world.project.id, question, [model.name for model in models])
    line.put(client, asked)
    return asked


def _board(client: redis.Redis, asked: Asked) -> Board:
    return board_of(asked.names, line.said_so_far(client, asked.id))


def _drawn(folder: Path, *, seed: int, side: int = 0, length: int = 24) -> str:
    """The same answer by the sampler that runs use."""
    tokenizer, policy = load_tokenizer(folder), load_policy(folder)
    decoding = Decoding(max_new_tokens=length, eos_ids=stop_ids(policy, tokenizer), rows=1)
    uniforms = uniform_numbers(seed, "playground", side, shape=(1, 1, length))
    ((drawn,),) = draw_completions(policy, [encode_prompt(tokenizer, TURNS)], uniforms, decoding=decoding)
    return decode_completion(tokenizer, drawn.tokens)


def test_both_models_say_what_the_sampler_draws(world: World, second: Model, client: redis.Redis, base: Path) -> None:
    asked = _ask(world, client, world.base, second)
    answer(asked.id, Pulse(), Shelf())
    board = _board(client, asked)
    assert board.is_over
    assert (board.words, board.is_bad) == ("", False)
    assert [side.text for side in board.sides] == [
        _drawn(base, seed=7),
        _drawn(get_artefacts().folder(str(second.storage_key)), seed=7),
    ]
    assert [side.state for side in board.sides] == [State.done, State.done]
    for side in board.sides:
        assert "a second" in side.words
        assert side.words.endswith(("ended by itself", "cut off at the limit"))


def test_one_model_twice_draws_anew_on_the_right(world: World, client: redis.Redis, base: Path) -> None:
    asked = _ask(world, client, world.base, world.base)
    answer(asked.id, Pulse(), Shelf())
    texts = [side.text for side in _board(client, asked).sides]
    assert texts == [_drawn(base, seed=7), _drawn(base, seed=7, side=1)]
    assert texts[0] != texts[1]


def test_what_the_last_question_used_stays_loaded_and_nothing_else(
    world: World, second: Model, client: redis.Redis
) -> None:
    shelf = Shelf()
    for models in ([world.base, second], [second]):
        answer(_ask(world, client, *models).id, Pulse(), shelf)
    assert (str(second.storage_key) in shelf, str(world.base.storage_key) in shelf) == (True, False)
    shelf.clear()
    assert str(second.storage_key) not in shelf


def test_what_stays_loaded_is_let_go_whole_when_nobody_asks(
    world: World, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOUCHSTONE_PLAYGROUND_IDLE_MINUTES", "0.01")
    forget_settings()
    shelf, loaded = Shelf(), []

    def load(folder: Path) -> PreTrainedModel:
        loaded.append(weakref.ref(policy := load_policy(folder)))
        return policy

    monkeypatch.setattr(playground, "load_policy", load)
    answer(_ask(world, client, world.base).id, Pulse(), shelf)
    eventually(lambda: [policy() for policy in loaded] == [None], what="its memory is free", timeout=20)


def test_a_side_that_can_not_answer_says_why_and_the_other_answers(
    world: World, second: Model, client: redis.Redis
) -> None:
    long = [{"role": "user", "content": "dog " * 200}]  # the base reads 128 tokens
    asked = _ask(world, client, world.base, second, messages=long)
    answer(asked.id, Pulse(), Shelf())
    left, right = _board(client, asked).sides
    assert (left.state, left.text) == (State.failed, "")
    assert "too long" in left.words
    assert "reads 128 at most" in left.words
    assert right.state == State.done
    assert right.text


def test_turns_that_a_chat_template_refuses_are_said(world: World, client: redis.Redis, base: Path) -> None:
    folder = get_artefacts().folder(str(world.base.storage_key))
    (folder / "chat_template.jinja").write_text("{{ raise_exception('no setting here, please') }}")
    asked = _ask(world, client, world.base)
    answer(asked.id, Pulse(), Shelf())
    side = _board(client, asked).sides[0]
    assert (side.state, side.words) == (
        State.failed, "Its chat template does not take these turns: no setting here, please.",
    )  # fmt: skip


def test_an_answer_ends_where_the_context_does(world: World, client: redis.Redis) -> None:
    nearly = [{"role": "user", "content": "Write a story about a dog. " * 11}]
    asked = _ask(world, client, world.base, messages=nearly, max_new_tokens=4096, temperature=0)
    answer(asked.id, Pulse(), Shelf())
    assert _board(client, asked).sides[0].words.endswith("its context is full")


def test_a_model_deleted_meanwhile_is_named(world: World, second: Model, client: redis.Redis) -> None:
    asked = _ask(world, client, world.base, second)
    with writing() as session:
        session.execute(update(Model).where(Model.id == second.id).values(state=ModelState.deleted))
    answer(asked.id, Pulse(), Shelf())
    left, right = _board(client, asked).sides
    assert (left.state, right.words) == (State.done, "second was deleted meanwhile. Choose another model.")


def test_a_reward_model_scores_both(
    world: World, second: Model, client: redis.Redis, base: Path, tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(base)
    torch.manual_seed(0)
    reward_model = new_reward_model(base, pad_token_id=tokenizer.pad_token_id)
    save_reward_model(reward_model, tokenizer, tmp_path / "reward", card="")
    judge = _stored(world, tmp_path / "reward", "judge", ModelKind.reward)
    asked = _ask(world, client, world.base, second, judge=judge.id)
    answer(asked.id, Pulse(), Shelf())
    assert all(side.reward.startswith(("reward +", "reward -")) for side in _board(client, asked).sides)


def test_a_broken_model_is_said_in_words(world: World, client: redis.Redis) -> None:
    (get_artefacts().folder(str(world.base.storage_key)) / "model.safetensors").write_bytes(b"no tensors")
    asked = _ask(world, client, world.base)
    answer(asked.id, Pulse(), Shelf())
    board = _board(client, asked)
    assert board.is_over
    assert "does not load" in board.sides[0].words


def test_a_sign_that_is_half_there_waits_for_its_other_half(world: World, client: redis.Redis, base: Path) -> None:
    asked = _ask(world, client, world.base)
    tokenizer = load_tokenizer(base)
    tokens = tokenizer.encode("a dé", add_special_tokens=False)
    assert tokenizer.decode(tokens[:-1]).endswith("\ufffd")
    voice = Voice(
        load_policy(base), [1], uniform_numbers(0, shape=(1, 1, 9)), Decoding(max_new_tokens=9, eos_ids=frozenset())
    )
    writing = Writing(0, "tiny", tokenizer, voice, is_cut_by_context=False)
    told = Told(client, asked.id, Pulse())
    for count in range(1, len(tokens) + 1):
        _tell([writing], [Progress(Drawn(tokens[:count]))], told)
        assert "\ufffd" not in _board(client, asked).sides[0].text
    assert _board(client, asked).sides[0].text == "a dé"
    _tell([writing], [Progress(Drawn(tokens[:-1]))], told, is_last=True)
    assert _board(client, asked).sides[0].text == "a d\ufffd", "the end is told as it is"


def test_nothing_is_drawn_twice_or_for_nobody(world: World, client: redis.Redis) -> None:
    taken, closed, stopped = (_ask(world, client, world.base) for _ in range(3))
    line.put(client, taken)  # the second and the third have stopped it
    client.hdel(line.key_of(taken.id), "stop", "over")
    client.hdel(line.key_of(closed.id), "stop", "over")
    assert line.take(client, taken.id, worker="other") is not None
    client.delete(line.key_of(closed.id, "heard"))
    service.stop(stopped)
    for asked in (taken, closed, stopped):
        answer(asked.id, Pulse(), Shelf())
        assert all(side.text == "" for side in _board(client, asked).sides)
    assert line.standing(client, closed.id) == Standing.waiting


def _lasting(world: World, client: redis.Redis, model: Model) -> Asked:
    """A question whose answer takes seconds, asked as the page asks."""
    with writing() as session:
        question = Question.model_validate(
            {"left": model.id, "messages": TURNS, "max_new_tokens": 4096, "temperature": 0}
        )
        return service.ask(session, world.project, world.admin, question)


def _is_writing(client: redis.Redis, asked: Asked) -> bool:
    return len(_board(client, asked).sides[0].text) > 20


def _has_worker(queue: str) -> bool:
    with writing() as session:
        return any(worker.queue == queue for worker in workers.live_workers(session))


@pytest.mark.prove  # a worker that loads torch three times
def test_a_real_worker_is_stopped_asked_again_and_killed(
    world: World, second: Model, client: redis.Redis, installation: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual worker answers while it has no run; its death is noticed and said."""
    monkeypatch.setattr(line, "SILENT_AFTER", 1.0)
    with running_worker(installation) as worker:
        eventually(lambda: _has_worker("touchstone"), what="the worker is there")
        asked = _lasting(world, client, second)
        eventually(lambda: _is_writing(client, asked), what="it writes")
        service.stop(asked)
        eventually(lambda: _board(client, asked).is_over, what="it stops")
        board = _board(client, asked)
        assert (board.words, board.is_bad) == ("You stopped it.", False)
        assert board.sides[0].words.endswith("stopped")

        asked = _lasting(world, client, second)
        eventually(lambda: _is_writing(client, asked), what="it writes again")
        worker.send_signal(signal.SIGKILL)
        eventually(lambda: service.look(asked) is None and _board(client, asked).is_over, what="the death is noticed")
    board = _board(client, asked)
    assert board.is_bad
    assert "gives no sign any more" in board.words
    assert board.sides[0].text, "what it had written stays"


def test_a_worker_for_questions_answers_beside_a_run(
    world: World, second: Model, client: redis.Redis, installation: Settings
) -> None:
    run = world.ask_for(RunKind.sft)  # queued, and nobody takes it
    with running_worker(installation, queue=Queue.playground) as worker:
        eventually(lambda: _has_worker("playground"), what="the worker is there")
        asked = _lasting(world, client, second)
        eventually(lambda: _is_writing(client, asked), what="it writes")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=60) == 0
    board = _board(client, asked)
    assert "told to end" in board.words
    assert run.state == "queued"
