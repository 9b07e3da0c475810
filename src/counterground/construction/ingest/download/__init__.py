"""Download photos from addresses into a pool: polite, resumable, verified. See README.md."""

from counterground.construction.ingest.download._download import (
    DownloadReport,
    FailedDownload,
    PhotoFields,
    download_photos,
)
from counterground.construction.ingest.download._keep import KeptPhoto, file_stem, keep_photo

__all__ = [
    "DownloadReport",
    "FailedDownload",
    "KeptPhoto",
    "PhotoFields",
    "download_photos",
    "file_stem",
    "keep_photo",
]
