"""Import photos that you have, as files or URLs, into a pool. See README.md."""

from counterground.construction.imports._import import import_photos
from counterground.construction.imports._items import ImportReport, RejectedItem

__all__ = ["ImportReport", "RejectedItem", "import_photos"]
