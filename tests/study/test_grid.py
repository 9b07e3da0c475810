"""The grid runner, through processes of its own."""

import os
import signal
import subprocess
import sys
import time

import pytest

# The runner itself: no study has cells that never end.
PROGRAM = """
import sys, time
from pathlib import Path
from counterground.study._grid import run_grid

def train(cell, checkpoint):
    Path(f"{checkpoint}.{__import__('os').getpid()}").touch()
    time.sleep(600)

if __name__ == "__main__":
    run_grid({cell: Path(sys.argv[1]) / f"{cell}.json" for cell in range(2)}, train, jobs=2)
"""


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _until(condition, seconds: float = 60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_processes_end_when_the_program_that_started_them_is_killed(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    started = subprocess.Popen([sys.executable, str(program), str(tmp_path)])
    _until(lambda: len(list(tmp_path.glob("*.safetensors.*"))) == 2)
    workers = [int(file.suffix[1:]) for file in tmp_path.glob("*.safetensors.*")]
    assert all(map(_alive, workers))
    started.send_signal(signal.SIGKILL)
    started.wait()
    _until(lambda: not any(map(_alive, workers)))
