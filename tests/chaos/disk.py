"""A disk of its own for a place, which can be full, read-only, or without its artefact store."""

import errno
import os
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

MIB = 2**20
AT_A_TIME = [MIB, 4096, 1]


class Disk:
    """A small file system in memory where this user may mount one; else a folder, and limits that the kernel keeps."""

    def __init__(self, folder: Path, mib: int = 512) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        options = ("-t", "tmpfs", "-o", f"size={mib}m,mode=755", "tmpfs", folder)
        self.is_mounted = os.geteuid() == 0 and _mount(*options) == ""

    def close(self) -> None:
        if self.is_mounted:
            _unmount(self.folder)

    @contextmanager
    def full(self, processes: list[psutil.Process]) -> Iterator[None]:
        """Not a byte is left; without a disk of one's own, no file of these processes can grow."""
        if not self.is_mounted:
            with _no_file_grows(processes):
                yield
            return
        ballast = self.folder / "ballast"
        with ballast.open("wb", buffering=0) as file:
            for size in AT_A_TIME:
                _write_until_full(file.fileno(), size)
        try:
            yield
        finally:
            ballast.unlink()

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Whatever is opened from now on can only be read."""
        if not self.is_mounted:
            with _forbidden(self.folder):
                yield
            return
        refused = _mount("--bind", self.folder, self.folder)
        assert not refused, refused
        try:
            self._forbid_writing()
            yield
        finally:
            _unmount(self.folder)

    def _forbid_writing(self) -> None:
        """Tried again while somebody has just opened a file to write."""
        for _ in range(100):
            if not (refused := _mount("-o", "remount,bind,ro", self.folder)):
                return
            threading.Event().wait(0.05)
        raise AssertionError(refused)

    @contextmanager
    def without(self, name: str) -> Iterator[None]:
        """A folder is away, and a file stands in its place: a share that was not mounted."""
        away = self.folder / f"{name}-away"
        (self.folder / name).rename(away)
        (self.folder / name).write_text("not a folder")
        try:
            yield
        finally:
            (self.folder / name).unlink()
            away.rename(self.folder / name)


def _mount(*words: object) -> str:
    """Why it was refused; empty where it was not."""
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr or "refused"


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _write_until_full(descriptor: int, size: int) -> None:
    try:
        while True:
            os.write(descriptor, bytes(size))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


@contextmanager
def _no_file_grows(processes: list[psutil.Process]) -> Iterator[None]:
    """The kernel refuses to let a file grow past a limit (RLIMIT_FSIZE); it can be set on a process that runs."""
    before = {}
    for process in processes:
        with suppress(psutil.Error):
            before[process] = process.rlimit(psutil.RLIMIT_FSIZE)
            process.rlimit(psutil.RLIMIT_FSIZE, (0, before[process][1]))
    try:
        yield
    finally:
        for process, limits in before.items():
            with suppress(psutil.Error):
                process.rlimit(psutil.RLIMIT_FSIZE, limits)


@contextmanager
def _forbidden(folder: Path) -> Iterator[None]:
    """Nobody but root may write to the folder's files, nor make new ones."""
    with ExitStack() as stack:
        for path in [*sorted(folder.rglob("*"), reverse=True), folder]:
            with suppress(FileNotFoundError):
                mode = stat.S_IMODE(path.lstat().st_mode)
                if not stat.S_ISSOCK(path.lstat().st_mode):
                    path.chmod(mode & ~0o222)
                    stack.callback(_allow, path, mode)
        yield


def _allow(path: Path, mode: int) -> None:
    with suppress(FileNotFoundError):
        path.chmod(mode)
