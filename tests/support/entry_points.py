"""The entry points of this tree's pyproject.toml, also where the package was installed with earlier ones."""

import os
import shutil
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).parents[2]


def declare(folder: Path) -> None:
    """Put a copy of the package's metadata first on the path of this process and of those it starts."""
    metadata = Path(distribution("counterground")._path)
    copy = shutil.copytree(metadata, folder / metadata.name)
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    lines = [
        f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in each.items()) for group, each in groups.items()
    ]
    (copy / "entry_points.txt").write_text("\n".join(lines))
    sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(folder)]))
