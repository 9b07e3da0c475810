"""Benchmarks whose photos are packed: WebDataset tars, Parquet files and data sets of Hugging Face."""

from counterground.photos.shards._datasets import is_saved_dataset, read_dataset
from counterground.photos.shards._parquet import label_name
from counterground.photos.shards._remote import read_webdataset
from counterground.photos.shards._shards import (
    EXPORT_FILE,
    ShardFormat,
    describe_shards,
    read_shards,
    shard_format,
)
from counterground.photos.shards._tar import MAX_TOTAL_BYTES

__all__ = [
    "EXPORT_FILE",
    "MAX_TOTAL_BYTES",
    "ShardFormat",
    "describe_shards",
    "is_saved_dataset",
    "label_name",
    "read_dataset",
    "read_shards",
    "read_webdataset",
    "shard_format",
]
