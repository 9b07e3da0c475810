"""Build wheel and sdist twice, compare the bytes, and check what is in them.

    python scripts/build_twice.py [FOLDER]     # into dist/ by default

The second build uses a copy elsewhere, with other file times and permissions: neither may affect the result.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST_MEGABYTES = 30
_BESIDE = {"README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "PKG-INFO", ".gitignore"}


def tracked() -> list[str]:
    """Return the files that git tracks or would track."""
    said = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in said.stdout.splitlines() if (ROOT / name).is_file()]


def copied(names: list[str], to: Path, *, mode: int, age: int) -> None:
    """Copy files with these permissions, as if they had been written ``age`` seconds after 2001."""
    for name in names:
        path = to / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, path)
        path.chmod(mode | (0o111 if os.access(ROOT / name, os.X_OK) else 0))
        os.utime(path, (10**9 + age, 10**9 + age))


def built(source: Path, to: Path, zone: str) -> dict[str, bytes]:
    """Build a wheel and an sdist and return their bytes by name."""
    moment = subprocess.run(
        ["git", "log", "-1", "--format=%ct"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    environment = {**os.environ, "SOURCE_DATE_EPOCH": moment.stdout.strip(), "TZ": zone}
    command = [sys.executable, "-m", "build", "--outdir", str(to), str(source)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"The build failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return {path.name: path.read_bytes() for path in sorted(to.iterdir())}


def complaints(folder: Path, names: list[str]) -> list[str]:
    """Return what should not be in the wheel or the sdist, what is missing, and what is too large."""
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    package = {name.removeprefix("src/") for name in names if name.startswith("src/")}
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    found = [f"The wheel lacks {name}." for name in sorted(package - inside)]
    found += [f"The wheel holds {name}." for name in sorted(inside - package)]
    found += [
        f"The sdist lacks src/{name}."
        for name in sorted(package - {name.removeprefix("src/") for name in held})
    ]
    found += [
        f"The sdist holds {name}."
        for name in sorted(held)
        if not name.startswith("src/") and name not in _BESIDE
    ]
    for path in (wheel, sdist):
        if (size := path.stat().st_size / 1e6) > MOST_MEGABYTES:
            found.append(f"{path.name} has {size:.1f} MB, more than {MOST_MEGABYTES}.")
    return found


def main() -> None:
    """Build, compare, check, and leave one of the two builds in the folder."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "dist").resolve()
    names = tracked()
    with tempfile.TemporaryDirectory() as made:
        builds = []
        for number, (mode, zone) in enumerate(((0o644, "UTC"), (0o600, "Asia/Tokyo"))):
            source = Path(made) / f"source-{number}" / ("deeper" * number or ".")
            copied(names, source, mode=mode, age=86_400 * 400 * number)
            builds.append(built(source, Path(made) / f"built-{number}", zone))
        differ = [name for name in {*builds[0], *builds[1]} if builds[0].get(name) != builds[1].get(name)]
        found = [f"{name} has other bytes in the second build." for name in sorted(differ)]
        found += complaints(Path(made) / "built-0", names)
        if found:
            raise SystemExit("\n".join(found))
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(Path(made) / "built-0", folder)
    for path in sorted(folder.iterdir()):
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, twice the same bytes")


if __name__ == "__main__":
    main()
