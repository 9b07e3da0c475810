"""Photos from addresses into a pool: polite, resumable, verified. See README.md."""

from counterground.construction.ingest.download._download import (
    DownloadReport,
    DownloadSettings,
    FailedDownload,
    Pacer,
    PhotoFields,
    download_photos,
)
from counterground.construction.ingest.download._keep import KeptPhoto, file_stem, find_photo, keep_photo

__all__ = [
    "DownloadReport",
    "DownloadSettings",
    "FailedDownload",
    "KeptPhoto",
    "Pacer",
    "PhotoFields",
    "download_photos",
    "file_stem",
    "find_photo",
    "keep_photo",
]
