"""An environment for the programs that ours is compared with, in ``.bench-venv``: made once, never ours.

It sees the packages of the environment that runs this (the same torch, torchvision and OpenCLIP), plus what
only peers need. Nothing is installed into ours.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

FOLDER = Path(__file__).parents[1] / ".bench-venv"
PACKAGES = ("clip-benchmark==1.6.2",)  # without its dependencies: those its evaluation needs are ours too


def peer_python() -> Path:
    """Return the interpreter of that environment."""
    python, made = FOLDER / "bin" / "python", FOLDER / ".installed"
    stamp = "\n".join([sysconfig.get_path("purelib"), *PACKAGES])
    if not made.is_file() or made.read_text() != stamp:
        subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", *PACKAGES], check=True)
        show = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        own = Path(subprocess.run(show, check=True, capture_output=True, text=True).stdout.strip())
        (own / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
        made.write_text(stamp)
    return python
