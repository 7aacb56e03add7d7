"""Prints the interpreter of an environment with TRL in it, which is made on the first call.

    python -m benchmarks.trl_environment 1.16.0

TRL is of the version that is asked for; torch, transformers and all else are those of the environment that runs this,
seen through a .pth file, so that both sides of a comparison compute with the same libraries.
"""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]


def python_with_trl(version: str) -> Path:
    """The interpreter of `.venv-trl-VERSION`, in the repository's root and not under version control."""
    folder = ROOT / f".venv-trl-{version}"
    python, finished = folder / "bin" / "python", folder / ".finished"
    if not finished.exists():
        venv.create(folder, clear=True, with_pip=True)
        (_site_packages(folder) / "ours.pth").write_text(sysconfig.get_path("purelib"))
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "-c", ROOT / "constraints.txt", f"trl=={version}"], check=True)
        finished.touch()
    return python


def _site_packages(folder: Path) -> Path:
    (found,) = folder.glob("lib/python*/site-packages")
    return found


if __name__ == "__main__":
    print(python_with_trl(sys.argv[1]))
