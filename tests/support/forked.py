"""Real processes that find PyTorch and OpenCLIP imported: forked from one that imported them, once for all.

Each has arguments, an environment and a folder of its own, can be killed and can fail, and is ready in a
moment instead of five seconds. What is read from the environment when libraries are imported, and what is
not imported at all, needs a process from `subprocess`.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory
from unittest.mock import patch

_CONTEXT = get_context("forkserver")
_PRELOADED = ["prewarmed"]
_CONTEXT.set_forkserver_preload(_PRELOADED)  # what it cannot import it leaves out in silence
COMMAND = "import runpy; runpy.run_module('counterground', run_name='__main__')"


def start(
    code: str,
    *arguments: object,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    output: tuple[Path, Path] | None = None,
) -> ForkServerProcess:
    """Run code as ``python -c`` does, in ``os.environ`` with ``environment``; ``output``: two files."""
    given = list(map(str, arguments))
    where = {**os.environ, **(environment or {})}
    of_process = (_PRELOADED[0], code, given, where, folder or Path.cwd(), output or ())
    process = _CONTEXT.Process(target=_run, args=of_process)
    # The server finds what this process finds: what it preloads, and the same counterground.
    with patch.dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path))):
        process.start()
    return process


def run(code: str, *arguments: object, **more: object) -> CompletedProcess[str]:
    """Run code to its end; see `start`."""
    with TemporaryDirectory() as folder:
        output = Path(folder, "out"), Path(folder, "err")
        process = start(code, *arguments, output=output, **more)
        process.join()
        said, complained = (file.read_text() for file in output)
    return CompletedProcess(arguments, process.exitcode, said, complained)


def command(*words: object, **more: object) -> CompletedProcess[str]:
    """Run ``counterground`` with these words; see `start`."""
    return run(COMMAND, *words, **more)


def _run(preloaded, code, arguments, environment, folder, output) -> None:
    gc.freeze()  # what was imported before stays, and stays shared
    for number, file in enumerate(output, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    if output:  # those of the server know what its files were
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    assert preloaded in sys.modules, "the process that forks has not imported what takes long"
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[:0] = [str(folder), *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    sys.argv = ["-c", *arguments]
    exec(code, {"__name__": "__main__"})
