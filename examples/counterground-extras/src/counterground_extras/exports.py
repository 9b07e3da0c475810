"""An export format: photos in folders, and one line of JSON for each."""

from __future__ import annotations

import json
from pathlib import Path

from counterground.construction.exports import Contents, ExportFormat, Tick, copy_photos


def _write(contents: Contents, folder: Path, tick: Tick) -> None:
    copy_photos(contents, folder, tick)
    rows = contents.benchmark.photos.iter_rows(named=True)
    lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    (folder / "photos.jsonl").write_text(lines, encoding="utf-8")


JSON_LINES = ExportFormat(
    name="jsonl",
    summary="Photos in folders, and `photos.jsonl` with one line for each.",
    reader='import json\n\nphotos = [json.loads(line) for line in open("photos.jsonl")]',
    write=_write,
)
