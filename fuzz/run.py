"""Fuzz readers of foreign files: ``python fuzz/run.py TARGET ... --seconds 60``; no target: all in turn.

With atheris (`pip install atheris`, Apache-2.0, for Linux and macOS) the code that is reached guides the
changes. Each target runs in its own process, which ends at 2 GB of memory or after 20 s with one input.
Without atheris, changes are drawn at random. An input that is neither read nor refused in one line is kept in
``fuzz/findings``.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import io
import logging
import os
import subprocess
import sys
import tarfile
import time
import traceback
from contextlib import suppress
from pathlib import Path
from random import Random

HERE = Path(__file__).parent
GROWN, FINDINGS = HERE / "grown", HERE / "findings"
_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>
sys.path[:0] = [str(HERE), str(HERE.parent / "tests" / "support")]


def main() -> int:
    """Run what the command line says; return 1 if there was a finding."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", nargs="*", help="names of targets; see --list")
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together [60]")
    parser.add_argument("--seed", type=int, default=0, help="of the random changes [0]")
    parser.add_argument("--random", action="store_true", help="draw at random, although atheris is there")
    parser.add_argument("--keep", action="store_true", help="write what was grown into fuzz/corpus.tar.xz")
    parser.add_argument("--list", action="store_true", help="list the targets")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)  # the process of one target
    parser.add_argument("--input", type=Path, help="read one file as the target does, and show what happens")
    given = parser.parse_args()
    if given.one:
        return _guided(given.target[0], given.seconds, given.seed)
    from targets import TARGETS, check, refuse_network

    _adopt_orphans()
    _try_quickly()
    names = given.target or list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    if given.list:
        print("\n".join(TARGETS))
        return 0
    refuse_network()
    if given.keep:
        return _keep_corpus()
    if given.input:
        print(check(names[0], given.input.read_bytes()))
        return 0
    guided = importlib.util.find_spec("atheris") is not None and not given.random
    share = given.seconds / len(names)
    found = 0
    for name in names:
        found += _in_process(name, share, given.seed) if guided else _at_random(name, share, given.seed)
    return 1 if found else 0


def _try_quickly() -> None:
    """Try tables in forks of a process that has imported what reads them, which takes long."""
    import forked

    from counterground import reading

    forked.preload("tried")
    reading._tried = forked.trial  # noqa: SLF001 - what is tried, and what it dies of, stays the same


def _keep_corpus() -> int:
    """Add to the corpus what atheris found to reach code that nothing before it reached."""
    from targets import CORPUS, TARGETS, corpus

    grown = {
        f"{path.parent.name}/{path.name}": path.read_bytes()
        for path in GROWN.glob("*/*")
        if path.parent.name in TARGETS
    }
    inputs = {f"{name}/{file}": data for name in TARGETS for file, data in corpus(name).items()} | grown
    with tarfile.open(CORPUS, "w:xz", preset=9) as packed:
        for name, data in sorted(inputs.items()):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))
    print(f"{CORPUS}: {len(inputs)} inputs, {CORPUS.stat().st_size} bytes")
    return 0


def _at_random(name: str, seconds: float, seed: int) -> int:
    """Read changed seeds until the time is up; return the number of findings."""
    from mutations import mutate
    from targets import check, corpus

    logging.disable(logging.CRITICAL)
    whole, until, before = list(corpus(name).values()), time.monotonic() + seconds, _cpu_seconds()
    done = accepted = found = 0
    while time.monotonic() < until or not done:
        random = Random(f"{seed} {done}")
        data = mutate(random.choice(whole), random)
        done += 1
        try:
            accepted += check(name, data) == "read"
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            found += 1
            _keep(name, data, error)
    used = _cpu_seconds() - before
    print(f"{name}: {done} inputs, {accepted} read, {found} findings, {used:.0f} s of CPU", flush=True)
    return found


def _cpu_seconds() -> float:
    """Return the processor time of this process and of those it has waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _keep(name: str, data: bytes, error: BaseException) -> None:
    place = traceback.extract_tb(error.__traceback__)[-1]
    kind = f"{type(error).__name__}-{Path(place.filename).stem}-{place.lineno}"
    folder = FINDINGS / name
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / kind).exists():
        (folder / kind).write_bytes(data)
        (folder / f"{kind}.txt").write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        print(f"{name}: {type(error).__name__}: {str(error)[:200]} ({folder / kind})", flush=True)


def _in_process(name: str, seconds: float, seed: int) -> int:
    command = [sys.executable, __file__, name, "--one", "--seconds", str(seconds), "--seed", str(seed)]
    before = _cpu_seconds()
    ended = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    _wait_for_orphans()
    used, lines = _cpu_seconds() - before, ended.stderr.splitlines()
    done = [line.split()[-1] for line in lines if "stat::number_of_executed_units" in line]
    inputs = f"{done[0]} inputs" if done else "ended early"
    print(f"{name}: {inputs}, {used:.0f} s of CPU, status {ended.returncode}", flush=True)
    if ended.returncode:
        told = [*ended.stdout.splitlines(), *lines]  # atheris writes the traceback to its output
        told = [line[:300] for line in told if not line.startswith(("#", "INFO"))]
        print("\n".join(told[-40:]), flush=True)
    return int(ended.returncode != 0)


def _adopt_orphans() -> None:
    """Let processes whose parent ended become children of this one, on Linux: their time counts too."""
    with suppress(AttributeError):
        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1)


def _wait_for_orphans() -> None:
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _guided(name: str, seconds: float, seed: int) -> int:
    """Let atheris change the inputs; it ends the process at the first finding."""
    import atheris

    with atheris.instrument_imports(include=["counterground"], enable_loader_override=False):
        from targets import check, corpus, refuse_network, seeds
    from mutations import mutate

    logging.disable(logging.CRITICAL)
    _try_quickly()
    refuse_network()
    grown, found = GROWN / name, FINDINGS / name
    for folder in (grown, found):
        folder.mkdir(parents=True, exist_ok=True)
    for file, data in corpus(name).items():
        (grown / file).write_bytes(data)
    for file, data in seeds(name).items():
        said = check(name, data)  # imports on first use may take longer than an input is allowed to
        assert said == "read", f"the valid {file} is refused, so nothing would be tried: {said}"

    def change(data: bytes, most: int, number: int) -> bytes:
        random = Random(number)
        if random.random() < 0.5:
            return atheris.Mutate(data, most)[:most]
        return mutate(data, random)[:most]

    def one(data: bytes) -> None:
        try:
            check(name, data)
        except Exception as error:
            _keep(name, data, error)  # atheris does not keep it where an alarm ends the process first
            raise

    options = [
        f"-max_total_time={max(1, round(seconds))}",
        "-timeout=20",
        "-rss_limit_mb=2048",
        "-max_len=300000",
        "-print_final_stats=1",
        f"-seed={seed + 1}",
        f"-artifact_prefix={found}{os.sep}",
    ]
    atheris.Setup([sys.argv[0], *options, str(grown)], one, custom_mutator=change)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
