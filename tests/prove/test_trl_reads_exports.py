"""What a project exports trains in TRL's SFTTrainer, RewardTrainer and DPOTrainer as it was downloaded."""

import json
import math
import subprocess
from pathlib import Path

import pytest

import workers
from app.accounts.models import Person
from app.core.db import writing
from app.projects.models import Project
from benchmarks.trl_environment import python_with_trl
from tests.app.datasets.labels import make_demonstration, make_ranking
from tests.conftest import SignIn
from tests.factories import make_prompt

TRL = "1.16.0"
FORMS = {
    "demonstrations": ["prompt_completion", "prompt_completion_conversational"],
    "comparisons": ["preference", "preference_conversational"],
}
STEPS = 3


@pytest.mark.parametrize("file_type", ["jsonl", "parquet"])
def test_exports_train_in_trl_unmodified(
    sign_in: SignIn, researcher: Person, labeler: Person, project: Project, tmp_path: Path, file_type: str
) -> None:
    with writing() as session:
        for number in range(12):
            prompt = make_prompt(session, project, text=f"Tell about dog number {number}.")
            make_demonstration(session, prompt, labeler, text=f"The dog ran home {number} times.")
            make_ranking(session, project, labeler, [1, 2, 2, 3], prompt=prompt)
    client, files = sign_in(researcher), tmp_path / "files"
    files.mkdir()
    for kind, forms in FORMS.items():
        frozen = client.post(f"/api/v1/projects/{project.slug}/snapshots", json={"kind": kind}).json()
        for form in forms:
            sent = client.get(f"{frozen['downloads'][form]}&file_type={file_type}")
            (files / f"{kind}.{form}.{file_type}").write_bytes(sent.content)
    base = Path(workers.__file__).parent / "starter"  # its tokenizer has a chat template
    script = Path(__file__).parent / "trl_reads.py"
    done = subprocess.run([python_with_trl(TRL), script, base, files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    losses = json.loads(done.stdout.splitlines()[-1])
    assert len(losses) == 2 * 1 + 2 * 2
    assert all(len(each) == STEPS and all(map(math.isfinite, each)) for each in losses.values()), losses
