"""Label Studio beside ours: installed in an environment of its own, with the same texts, driven in the same loop."""

import asyncio
import json
import os
import random
import re
import subprocess
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
from sqlalchemy import BindParameter, Engine, bindparam, make_url, text

from app.serving import listen
from benchmarks.desk import PASSWORD
from benchmarks.filling import fresh_texts
from benchmarks.http import Client, Refused
from benchmarks.stored import Stored
from benchmarks.website import ROOT, database_processes

PACKAGES = ("label-studio>=1.23,<1.24", "gunicorn>=23,<24")
ENVIRONMENT = ROOT / ".venv-label-studio"  # about 1 GB, not under version control
THREADS = 16  # of each gunicorn process
OWNER = "owner@example.org"
AT_ONCE = 500  # tasks of one import
# Ranks as in Label Studio's own template for language models, and for each completion what our starter's schema asks.
CONFIG = """
<View>
  <Text name="prompt" value="$prompt"/>
  <List name="completions" value="$completions" title="Completions"/>
  <Ranker name="order" toName="completions"><Bucket name="best_first" title="Best first"/></Ranker>
  <Repeater on="$completions" indexFlag="{{n}}">
    <Text name="text_{{n}}" value="$completions[{{n}}].body"/>
    <Rating name="overall_{{n}}" toName="text_{{n}}" maxRating="7"/>
    <Choices name="flags_{{n}}" toName="text_{{n}}" choice="multiple"><Choice value="hallucination"/></Choices>
  </Repeater>
</View>
"""
_TOKEN = re.compile(rb'name="csrfmiddlewaretoken" value="([^"]+)"')


def install() -> Path:
    """The folder of Label Studio's programs, installed if it is not there yet."""
    programs, finished = ENVIRONMENT / "bin", ENVIRONMENT / ".finished"
    if not finished.exists():
        print(f"Installing {PACKAGES[0]} into {ENVIRONMENT} (once, some minutes) ...", flush=True)
        venv.create(ENVIRONMENT, clear=True, with_pip=True)
        pip: list[str | Path] = [programs / "python", "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        if subprocess.run([*pip, *PACKAGES]).returncode:
            raise SystemExit(
                f"Label Studio could not be installed: see pip's words above. Leave --also away to measure Touchstone "
                f"alone, or install {' and '.join(PACKAGES)} into {ENVIRONMENT} yourself and put an empty file "
                f"{finished.name} there."
            )
        finished.touch()
    return programs


def settings(url: str, folder: Path) -> dict[str, str]:
    """Its settings: our database, and no word to anybody outside this machine."""
    kept = {name: value for name, value in os.environ.items() if name not in ("HOST", "PORT", "USERNAME", "PYTHONPATH")}
    quiet = {"COLLECT_ANALYTICS": "false", "LATEST_VERSION_CHECK": "false", "SENTRY_DSN": "", "FRONTEND_SENTRY_DSN": ""}
    told = {"LABEL_STUDIO_BASE_DATA_DIR": str(folder), "DJANGO_SETTINGS_MODULE": "core.settings.label_studio"}
    database = make_url(url)
    if database.get_backend_name() == "postgresql":
        told |= {
            "DJANGO_DB": "default",
            "POSTGRE_NAME": database.database or "postgres",
            "POSTGRE_USER": database.username or "postgres",
            "POSTGRE_PASSWORD": database.password or "",
            "POSTGRE_HOST": str(database.query.get("host") or database.host or "localhost"),
            "POSTGRE_PORT": str(database.port or 5432),
            # The wheel's PostgreSQL lacks two extensions. Without their indexes Label Studio has less to write.
            "SKIP_TRIGRAM_EXTENSION": "full",
            "SKIP_BTREE_GIN_EXTENSION": "full",
        }
    else:
        told |= {"DJANGO_DB": "sqlite", "DATABASE_NAME": database.database or ""}
    return {**kept, **quiet, **told}


class LabelStudio:
    """`with LabelStudio(url, folder) as site:` starts it as `label-studio start` does, or as several processes."""

    def __init__(self, url: str, folder: Path, *, processes: int = 1) -> None:
        self._folder, self._count, self._programs = folder, processes, install()
        self._settings, self._log = settings(url, folder), folder / "label-studio.log"

    def create(self) -> None:
        """The tables, and the owner with an organization."""
        login = ["--username", OWNER, "--password", PASSWORD]
        if self._start([self._programs / "label-studio", "init", "--quiet", *login]).wait():
            raise SystemExit(f"Label Studio could not make its tables: see {self._log}.")

    def _start(self, command: list[str | Path]) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(command, env=self._settings, cwd=self._folder, stdout=log, stderr=log)

    def __enter__(self) -> "LabelStudio":
        with listen("127.0.0.1", 0) as listener:
            port = listener.getsockname()[1]
        self._started = self._start(self._command(port))
        self.address = f"http://127.0.0.1:{port}"
        while not self._answers():
            if self._started.poll() is not None:
                raise SystemExit(f"Label Studio ended while it started: see {self._log}.")
            time.sleep(0.2)
        started = psutil.Process(self._started.pid)
        self.processes = [started, *started.children(recursive=True)]
        return self

    def __exit__(self, *_: object) -> None:
        self._started.terminate()
        try:
            self._started.wait(20)
        except subprocess.TimeoutExpired:
            self._started.kill()
            self._started.wait()

    def _command(self, port: int) -> list[str | Path]:
        if self._count == 1:
            serve = ["start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
            return [self._programs / "label-studio", *serve]
        package = next((self._programs.parent / "lib").glob("python*/site-packages/label_studio"))
        workers = ["--workers", str(self._count), "--threads", str(THREADS), "--keep-alive", "75", "--timeout", "300"]
        bind = ["--bind", f"127.0.0.1:{port}", "--chdir", str(package)]
        return [self._programs / "gunicorn", *workers, *bind, "core.wsgi:application"]

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=60) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def database_processes(self) -> list[psutil.Process]:
        return database_processes(self._folder)


@dataclass(slots=True)
class Desk:
    """One labeler in one browser session, with the requests that Label Studio's own page sends."""

    client: Client
    project: int
    chance: random.Random

    async def sign_in(self, email: str) -> None:
        await self._hand_in_form("/user/login/", email)

    async def sign_up(self, email: str) -> None:
        await self._hand_in_form("/user/signup/", email)

    async def _hand_in_form(self, path: str, email: str) -> None:
        page = await self.client.send("GET", path)
        token = _TOKEN.search(page)
        assert token is not None, f"no form at {path}"
        form = {"csrfmiddlewaretoken": token[1].decode(), "email": email, "password": PASSWORD}
        kind = "application/x-www-form-urlencoded"
        await self.client.send("POST", path, urlencode(form).encode(), kind=kind)
        if "sessionid" not in self.client.cookies:
            raise Refused(f"{path} let {email} not in")

    async def next(self) -> dict[str, Any] | None:
        try:
            task: dict[str, Any] = await self.client.send_json("GET", f"/api/projects/{self.project}/next")
        except Refused as answer:
            if "404" in str(answer):  # nothing is left
                return None
            raise
        return task

    def judge(self, task: dict[str, Any]) -> dict[str, Any]:
        """An order without ties, which its Ranker does not know; a rating for each completion, flags for some."""
        ids = [each["id"] for each in task["data"]["completions"]]
        order = self.chance.sample(ids, len(ids))
        result = [_mark("order", "completions", "ranker", {"best_first": order})]
        for number in range(len(ids)):
            result.append(_mark(f"overall_{number}", f"text_{number}", "rating", self.chance.randint(1, 7)))
            if self.chance.random() < 0.2:
                result.append(_mark(f"flags_{number}", f"text_{number}", "choices", ["hallucination"]))
        return {"result": result, "lead_time": 60}

    async def submit(self, task: dict[str, Any], judgment: dict[str, Any]) -> tuple[str, dict[str, int]]:
        path = f"/api/tasks/{task['id']}/annotations/?project={self.project}"
        answer = await self.client.send_json("POST", path, judgment)
        return str(answer["id"]), ranks_in(answer["result"])


def _mark(name: str, of: str, kind: str, value: object) -> dict[str, Any]:
    return {"from_name": name, "to_name": of, "type": kind, "value": {kind: value}}


def ranks_in(result: list[dict[str, Any]]) -> dict[str, int]:
    """Ranks by completion, 1 for the best, as an annotation says them."""
    orders = [mark["value"]["ranker"]["best_first"] for mark in result if mark["type"] == "ranker"]
    return {completion: rank for order in orders for rank, completion in enumerate(order, 1)}


def prepare(url: str, folder: Path, *, emails: list[str], fresh: int) -> int:
    """The project with its people and tasks, made unless it is there."""
    ready = folder / "project.txt"
    if not ready.exists():
        print("Making Label Studio's tables, people and tasks ...", flush=True)
        if (folder / "label-studio.log").exists():
            raise SystemExit(f"An earlier preparation was cut short: remove {folder} and start again.")
        site = LabelStudio(url, folder)
        site.create()
        with site:
            ready.write_text(str(asyncio.run(_fill(site, emails, fresh))))
    return int(ready.read_text())


async def _fill(site: LabelStudio, emails: list[str], fresh: int) -> int:
    """The people, and one project of `fresh` tasks with the texts that Touchstone's items have."""
    for email in emails:
        async with Client(site.address) as client:
            await sit_down(0, client, 0).sign_up(email)
    async with Client(site.address) as client:
        await sit_down(0, client, 0).sign_in(OWNER)
        settings = {"title": "Benchmark", "label_config": CONFIG, "maximum_annotations": 1}
        project: int = (await client.send_json("POST", "/api/projects/", settings))["id"]
        tasks = [_as_task(*item) for item in fresh_texts(1, fresh)]
        for start in range(0, fresh, AT_ONCE):
            await client.send_json("POST", f"/api/projects/{project}/import", tasks[start : start + AT_ONCE])
    return project


def sit_down(project: int, client: Client, number: int) -> Desk:
    return Desk(client, project, random.Random(number))


def _as_task(position: int, prompt: str, completions: list[str]) -> dict[str, Any]:
    listed = [{"id": f"{position}-{n}", "title": "ABCDEFGHI"[n], "body": body} for n, body in enumerate(completions)]
    return {"data": {"prompt": prompt, "completions": listed}}


def look_up(engine: Engine, acknowledged: Mapping[str, Mapping[str, int]]) -> Stored:
    """What its database has of what was acknowledged."""
    ids = list(map(int, acknowledged))
    mine = text("SELECT id, task_id, result FROM task_completion WHERE NOT was_cancelled AND id IN :ids")
    twice = text(
        "SELECT count(*) FROM (SELECT task_id FROM task_completion WHERE NOT was_cancelled AND task_id IN "
        "(SELECT task_id FROM task_completion WHERE id IN :ids) GROUP BY task_id HAVING count(*) > 1) AS twice"
    )
    listed: BindParameter[int] = bindparam("ids", expanding=True)
    with engine.connect() as connection:
        rows = connection.execute(mine.bindparams(listed), {"ids": ids}).all()
        doubles = connection.scalar(twice.bindparams(listed), {"ids": ids}) or 0
    kept = sum(ranks_in(_read(row.result)) == acknowledged[str(row.id)] for row in rows)
    return Stored(doubles, len(ids) - kept)


def _read(result: object) -> list[dict[str, Any]]:
    """SQLite keeps JSON as text, PostgreSQL's driver has read it."""
    found: list[dict[str, Any]] = json.loads(result) if isinstance(result, str) else result  # type: ignore[assignment]
    return found
