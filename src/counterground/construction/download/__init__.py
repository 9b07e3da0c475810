"""Download photos from addresses into a pool: polite, resumable, verified. See README.md."""

from counterground.construction.download._download import (
    DownloadReport,
    FailedDownload,
    KeptPhoto,
    PhotoFields,
    cluster_of,
    discarded_paths,
    download_photos,
    file_stem,
    keep_photo,
)

__all__ = [
    "DownloadReport",
    "FailedDownload",
    "KeptPhoto",
    "PhotoFields",
    "cluster_of",
    "discarded_paths",
    "download_photos",
    "file_stem",
    "keep_photo",
]
