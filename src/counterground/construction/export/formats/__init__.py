"""The formats of an export, one record each."""

from counterground.construction.export.formats._croissant import CROISSANT
from counterground.construction.export.formats._fiftyone import FIFTYONE
from counterground.construction.export.formats._folders import COUNTERANIMAL, PARQUET
from counterground.construction.export.formats._huggingface import HUGGINGFACE
from counterground.construction.export.formats._webdataset import WEBDATASET

__all__ = ["COUNTERANIMAL", "CROISSANT", "FIFTYONE", "HUGGINGFACE", "PARQUET", "WEBDATASET"]
