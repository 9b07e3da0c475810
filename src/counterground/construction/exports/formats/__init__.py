"""The formats of an export, one record each."""

from counterground.construction.exports.formats._croissant import CROISSANT
from counterground.construction.exports.formats._fiftyone import FIFTYONE
from counterground.construction.exports.formats._folders import COUNTERANIMAL, PARQUET
from counterground.construction.exports.formats._huggingface import HUGGINGFACE
from counterground.construction.exports.formats._webdataset import WEBDATASET

__all__ = ["COUNTERANIMAL", "CROISSANT", "FIFTYONE", "HUGGINGFACE", "PARQUET", "WEBDATASET"]
