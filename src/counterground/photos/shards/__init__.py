"""Benchmarks whose photos are packed: WebDataset tars, Parquet files and data sets of Hugging Face."""

from counterground.photos.shards._datasets import is_saved_dataset, read_dataset
from counterground.photos.shards._remote import read_webdataset
from counterground.photos.shards._samples import label_name
from counterground.photos.shards._shards import EXPORT_FILE, ShardFormat, read_shards, shard_format

__all__ = [
    "EXPORT_FILE",
    "ShardFormat",
    "is_saved_dataset",
    "label_name",
    "read_dataset",
    "read_shards",
    "read_webdataset",
    "shard_format",
]
