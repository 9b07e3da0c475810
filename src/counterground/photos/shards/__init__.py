"""Benchmarks whose photos are packed in shards: WebDataset tars, and Parquet files of Hugging Face."""

from counterground.photos.shards._shards import (
    EXPORT_FILE,
    PackedForm,
    packed_form,
    read_packed,
    write_packed,
)

__all__ = ["EXPORT_FILE", "PackedForm", "packed_form", "read_packed", "write_packed"]
