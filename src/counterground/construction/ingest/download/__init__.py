"""Photos from addresses into a pool: polite, resumable, verified. See README.md."""

from counterground.construction.ingest.download._download import (
    DownloadReport,
    Missed,
    Pacer,
    PhotoFields,
    download_photos,
)
from counterground.construction.ingest.download._fetch import DownloadSettings, retry_after
from counterground.construction.ingest.download._keep import KeptPhoto, file_stem, find_photo, keep_photo

__all__ = [
    "DownloadReport",
    "DownloadSettings",
    "KeptPhoto",
    "Missed",
    "Pacer",
    "PhotoFields",
    "download_photos",
    "file_stem",
    "find_photo",
    "keep_photo",
    "retry_after",
]
