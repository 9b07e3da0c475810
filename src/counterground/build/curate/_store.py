"""Measures on disk, keyed by what a photo contains: a killed or repeated run measures only what is new.

They are kept in the cache, since they can be made again, and hold no judgement: other limits measure nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from counterground.atomic import write_parquet
from counterground.build.curate._pixels import PixelMeasures

# Measures of another version are never read: raise it whenever a figure would come out differently.
_VERSION = 1

MEASURE_SCHEMA: dict[str, pl.DataType] = {
    "photo_id": pl.String(),
    "width": pl.Int64(),
    "height": pl.Int64(),
    "sharpness": pl.Float64(),
    "dark": pl.Float64(),
    "bright": pl.Float64(),
    "contrast": pl.Float64(),
    "entropy": pl.Float64(),
    "phash": pl.UInt64(),
}
assert tuple(MEASURE_SCHEMA)[1:] == PixelMeasures._fields


class MeasureStore:
    """Measures of photos by content; one file per block that was measured together."""

    def __init__(self, root: Path) -> None:
        from imagehash import __version__ as imagehash_version
        from PIL import __version__ as pillow_version

        # Decoders and resampling are Pillow's.
        self.folder = root / f"{_VERSION}-pillow-{pillow_version}-imagehash-{imagehash_version}"

    def read(self) -> pl.DataFrame:
        """Return all there is, as ``MEASURE_SCHEMA``; a damaged file counts as absent."""
        shards = [pl.DataFrame(schema=MEASURE_SCHEMA)]
        for path in sorted(self.folder.glob("[!.]*.parquet")):
            try:
                shard = pl.read_parquet(path)
            except (OSError, pl.exceptions.PolarsError):
                continue
            if dict(shard.schema) == MEASURE_SCHEMA:
                shards.append(shard)
        return pl.concat(shards).unique("photo_id", keep="first", maintain_order=True)

    def put(self, measures: Mapping[str, PixelMeasures]) -> None:
        """Keep measures by ``photo_id``."""
        if not measures:
            return
        rows: Sequence[tuple[object, ...]] = [(photo, *values) for photo, values in measures.items()]
        name = hashlib.sha256("\n".join(sorted(measures)).encode()).hexdigest()[:32]
        frame = pl.DataFrame(rows, schema=MEASURE_SCHEMA, orient="row")
        write_parquet(self.folder / f"{name}.parquet", frame)
