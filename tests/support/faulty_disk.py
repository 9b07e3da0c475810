"""Commands whose disk fails at a chosen call, or that are killed there: real processes, forked from one that
has imported what those before them did, with `faulty_disk.c` loaded into it. Each child arms itself.
"""

from __future__ import annotations

import atexit
import ctypes
import errno
import gc
import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).with_name("faulty_disk.c")
PATIENCE = 300.0
"""Seconds after which a command counts as hanging."""

KINDS = {
    "ENOSPC": ("f", errno.ENOSPC),
    "EIO": ("f", errno.EIO),
    "EROFS": ("f", errno.EROFS),
    "full": ("F", errno.ENOSPC),
    "read-only": ("F", errno.EROFS),
    "killed before": ("b", 0),
    "killed after": ("a", 0),
    "torn": ("t", 0),
}
"""By name: what the library does, and the error. ``full`` and ``read-only`` last to the end of the process,
the other errors for one call; ``torn`` is killed after half of a write."""
FAILURES = ("ENOSPC", "EIO", "EROFS", "full", "read-only")
KILLS = ("killed before", "killed after", "torn")


@dataclass(frozen=True)
class Fault:
    """What happens (one of ``KINDS``) to which call, counted from 1."""

    kind: str
    at: int


@dataclass(frozen=True)
class Ran:
    """How a command ended: its status (negative: the signal), what it said, and the calls it made."""

    status: int
    out: str
    err: str
    calls: tuple[str, ...] = field(repr=False, default=())

    @property
    def killed(self) -> bool:
        return self.status == -signal.SIGKILL


def library() -> Path:
    """Compile the library."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise RuntimeError("A C compiler is needed to make disks fail: apt-get install gcc libc6-dev")
    name = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    made = Path(tempfile.gettempdir()) / f"counterground-faulty-disk-{os.getuid()}" / f"{name}.so"
    if not made.exists():
        made.parent.mkdir(mode=0o700, exist_ok=True)
        draft = made.with_suffix(f".{os.getpid()}")
        command = [compiler, "-O1", "-shared", "-fPIC", "-o", draft, SOURCE, "-ldl"]
        subprocess.run(command, check=True, capture_output=True)
        draft.replace(made)
    return made


class FaultyDisk:
    """Runs commands whose calls to the disk below ``root`` are counted, and disturbed where one asks for it.

    ``root/home`` is their folder, ``root/cache`` their cache; what they say is kept beside ``root``.
    """

    def __init__(self, root: Path) -> None:
        made = library()
        self.root = root.resolve()
        self._began = int(time.time())
        self._said = Path(tempfile.mkdtemp(prefix="said-"))
        single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1")
        self._environment = {**os.environ, **single, "COLUMNS": "200", "PYTHONHASHSEED": "0"}
        self._server = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self._environment | {"LD_PRELOAD": str(made)},
        )

    def __enter__(self) -> FaultyDisk:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()
        shutil.rmtree(self._said)

    def clear(self) -> None:
        """Empty the root."""
        shutil.rmtree(self.root, ignore_errors=True)
        for name in ("home", "cache"):
            (self.root / name).mkdir(parents=True)

    def start(
        self,
        words: str,
        fault: Fault | None = None,
        *,
        first: str = "",
        needs: Sequence[str] = (),
        ahead: int = 0,
        kill_after: tuple[int, float] | None = None,
        repeat: bool = False,
    ) -> Running:
        """Start ``counterground`` with these words.

        Args:
            words: the arguments, with a space between them.
            fault: disturbs it.
            first: a module that it imports first.
            needs: modules that take long, imported once for all commands.
            ahead: seconds by which its clock is ahead.
            kill_after: it is killed so many seconds after so many calls, if it has not ended.
            repeat: its clock stands still, and its random numbers are those of the others that repeat.
        """
        said = Path(tempfile.mkdtemp(dir=self._said))
        action, error = KINDS[fault.kind] if fault else ("", 0)
        job = {
            "words": words.split(),
            "environment": {**self._environment, "COUNTERGROUND_CACHE": str(self.root / "cache")},
            "folder": str(self.root / "home"),
            "said": str(said),
            "arm": [str(self.root), fault.at if fault else 0, action, error],
            "first": first,
            "needs": needs,
            "ahead": ahead,
            "repeat": self._began if repeat else 0,
        }
        running = Running(self, int(self._ask(job)), said)
        if kill_after is not None:
            threading.Thread(target=running.kill_after, args=kill_after, daemon=True).start()
        return running

    def _ask(self, job: Mapping[str, object]) -> str:
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        assert answer, "the process that forks has ended"
        return answer


@dataclass(frozen=True)
class Running:
    """A command that runs."""

    disk: FaultyDisk
    pid: int
    said: Path

    def send(self, number: int) -> None:
        """Send a signal, unless it has been waited for."""
        if self.said.exists():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def out(self) -> str:
        """Return what it has printed so far."""
        return (self.said / "out").read_text(errors="replace")

    def calls(self) -> list[str]:
        """Return the calls it has made so far."""
        return (self.said / "calls").read_text(errors="replace").splitlines()

    def kill_after(self, calls: int, seconds: float) -> None:
        """Kill it so many seconds after so many calls."""
        with suppress(FileNotFoundError):  # it has been waited for
            while len(self.calls()) < calls:
                time.sleep(0.002)
        time.sleep(seconds)
        self.send(signal.SIGKILL)

    def ended(self) -> bool:
        """Say whether it has ended; it is a zombie until ``wait`` is called."""
        with suppress(OSError):
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        return True

    def wait(self, patience: float = PATIENCE) -> Ran:
        """Wait for its end."""
        status = int(self.disk._ask({"wait": self.pid, "patience": patience}))
        out, err, calls = ((self.said / name).read_text(errors="replace") for name in ("out", "err", "calls"))
        shutil.rmtree(self.said)
        return Ran(status, out, err, tuple(calls.splitlines()))


def _serve() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        if "wait" in job:
            print(_end_of(job["wait"], job["patience"]), flush=True)
            continue
        for name in ("out", "err", "calls"):
            Path(job["said"], name).touch()
        before = Path(job["said"]).parent / "modules"
        _import([*job["needs"], *(before.read_text().splitlines() if before.exists() else ())])
        before.unlink(missing_ok=True)
        gc.freeze()  # a child that looks for garbage here would copy all of it
        child = os.fork()
        if not child:
            _run(job)
        print(child, flush=True)


def _import(names: Sequence[str]) -> None:
    """Import what a command needs, or one that has ended did: those that come find it here."""
    for name in names:
        with suppress(Exception):
            __import__(name)


def _note_imports(file: Path, before: set[str]) -> None:
    new = [name for name, module in sys.modules.items() if module and name not in before]
    if new:
        draft = file.with_suffix(f".{os.getpid()}")
        draft.write_text("\n".join(new))
        draft.replace(file)


def _end_of(child: int, patience: float) -> int:
    watched = select.poll()
    watched.register(handle := os.pidfd_open(child), select.POLLIN)
    ended = bool(watched.poll(1000 * patience))
    os.close(handle)
    if not ended:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) if ended else -signal.SIGALRM  # it hung


def _run(job: Mapping[str, object]) -> None:
    """Become the command; in the child."""
    try:
        said = Path(job["said"])
        for number, name in enumerate((os.devnull, said / "out", said / "err")):
            os.dup2(os.open(name, os.O_WRONLY if number else os.O_RDONLY), number)
        calls = os.open(said / "calls", os.O_WRONLY | os.O_APPEND)
        os.environ.clear()
        os.environ.update(job["environment"])
        os.chdir(job["folder"])
        sys.argv = ["counterground", *job["words"]]
        atexit.register(_note_imports, said.parent / "modules", {*sys.modules, job["first"]})
        from counterground.cli import console

        if job["first"]:
            __import__(job["first"])

        root, at, action, error = job["arm"]
        ctypes.CDLL(None).faults_shift(ctypes.c_long(job["ahead"]))
        ctypes.CDLL(None).faults_repeat(ctypes.c_long(job["repeat"]))
        arm = ctypes.CDLL(None).faults_arm
        arm.argtypes = (ctypes.c_char_p, ctypes.c_long, ctypes.c_char, ctypes.c_int, ctypes.c_int)
        arm(root.encode(), at, action.encode() or b"\0", error, calls)
        console()
    finally:
        os._exit(70)  # only where `console` raised, which it never may


if __name__ == "__main__":
    _serve()
