"""A package that adds things by entry points: installed as pip leaves one, for the tests of registries."""

from __future__ import annotations

from pathlib import Path


def install(site: Path, name: str, code: str, entry_points: dict[str, dict[str, str]]) -> Path:
    """Write ``name.py`` and its metadata into ``site``, which belongs on ``sys.path``; return ``site``.

    ``entry_points`` maps groups to entry points: ``{"counterground.metrics": {"brier": "mine:BRIER"}}``.
    """
    site.mkdir(parents=True, exist_ok=True)
    (site / f"{name}.py").write_text(code)
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    groups = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in points.items())
        for group, points in entry_points.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))
    return site
