"""The grid runner, through processes of its own."""

import os
import signal
import subprocess
import sys
import time

import pytest

# Some trainings diverge: the others go on, in this process or in others.
DIVERGING = """
import sys
from pathlib import Path
from counterground.paper.loop import DivergedError, run_grid

def train(cell, checkpoint):
    checkpoint.touch()
    if cell in sys.argv[2]:
        raise DivergedError("the loss is nan")
    return {"cell": cell}

if __name__ == "__main__":
    files = {cell: Path(sys.argv[1]) / f"{cell}.json" for cell in "abc"}
    found = run_grid(files, train, jobs=int(sys.argv[3]))
    print({cell: figures["failed"] for cell, figures in found.items() if figures["failed"]})
"""


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_training_that_diverges_ends_no_other_and_is_named(jobs, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(DIVERGING)
    command = [sys.executable, str(program), str(tmp_path)]
    done = subprocess.run([*command, "a", str(jobs)], capture_output=True, text=True, check=True)
    assert done.stdout == "{'a': 'a: the loss is nan'}\n"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["b.json", "c.json", "program.py"]
    again = subprocess.run([*command, "", str(jobs)], capture_output=True, text=True, check=True)
    assert again.stdout == "{}\n"
    for file in tmp_path.glob("*.json"):
        file.unlink()
    every = subprocess.run([*command, "abc", str(jobs)], capture_output=True, text=True, check=False)
    assert "All trainings diverged, first " in every.stderr


# The runner itself: no study has cells that never end.
PROGRAM = """
import sys, time
from pathlib import Path
from counterground.paper.loop import run_grid

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


# One training of many fails, or the program is interrupted: the others would take minutes each.
GIVEN_UP = """
import os, signal, sys, time
from pathlib import Path
from counterground.paper.loop import run_grid

def train(cell, checkpoint):
    Path(f"{checkpoint}.{os.getpid()}").touch()
    if cell == sys.argv[2]:
        while len(list(checkpoint.parent.glob("*.safetensors.*"))) < 2:
            time.sleep(0.05)
        raise ValueError("no training")
    time.sleep(600)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    run_grid({cell: Path(sys.argv[1]) / f"{cell}.json" for cell in "abcdef"}, train, jobs=2)
"""


@pytest.mark.slow
@pytest.mark.parametrize("interrupted", [True, False])
def test_a_grid_that_is_given_up_ends_at_once(interrupted, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(GIVEN_UP)
    command = [sys.executable, str(program), str(tmp_path), "none" if interrupted else "a"]
    started = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    _until(lambda: len(list(tmp_path.glob("*.safetensors.*"))) >= 2)
    if interrupted:
        started.send_signal(signal.SIGINT)
    try:
        said = started.communicate(timeout=60)[1]
    finally:
        started.kill()
    assert ("KeyboardInterrupt" if interrupted else "no training") in said
    begun = list(tmp_path.glob("*.safetensors.*"))
    assert len(begun) <= 3
    _until(lambda: not any(_alive(int(file.suffix[1:])) for file in begun))


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
