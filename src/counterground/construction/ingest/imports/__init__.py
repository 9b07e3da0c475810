"""Photos one has already, or the addresses of, into a pool. See README.md."""

from counterground.construction.ingest.imports._import import import_photos
from counterground.construction.ingest.imports._options import ImportOptions
from counterground.construction.ingest.imports._report import ImportReport, NotImported

__all__ = ["ImportOptions", "ImportReport", "NotImported", "import_photos"]
