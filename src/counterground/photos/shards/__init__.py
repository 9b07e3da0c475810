"""Benchmarks whose photos are packed in shards: WebDataset tars, and Parquet files of Hugging Face."""

from counterground.photos.shards._samples import MAX_TOTAL_BYTES
from counterground.photos.shards._shards import (
    EXPORT_FILE,
    ShardFormat,
    describe_shards,
    read_shards,
    shard_format,
)

__all__ = ["EXPORT_FILE", "MAX_TOTAL_BYTES", "ShardFormat", "describe_shards", "read_shards", "shard_format"]
