"""Photos: the manifest, label spaces, readers and writers, and reading one photo safely."""

from counterground.photos._benchmark import Benchmark, Discovered, benchmark_of_frame, describe_gaps
from counterground.photos._croissant import read_croissant
from counterground.photos._geometry import (
    BOX,
    Geometry,
    ObjectPlace,
    mask_place,
    object_place,
    photo_geometry,
    read_mask,
)
from counterground.photos._manifest import MANIFEST_SCHEMA, validate_manifest
from counterground.photos._native import write_benchmark
from counterground.photos._photo import (
    IMAGE_SUFFIXES,
    AnyPhoto,
    ImageType,
    LoadedPhoto,
    MadePhoto,
    UnreadablePhoto,
    image_type,
    load_photo,
    photo_id,
    photo_size,
)
from counterground.photos._questions import MAX_OPTIONS, QUESTION_SCHEMA
from counterground.photos._reading import read_benchmark
from counterground.photos._sample import sample_photos
from counterground.photos._table import TABLE_SUFFIXES, read_table
from counterground.photos.labels import (
    ClassAssignment,
    LabelSpace,
    assign_classes,
    badly_read_names,
    find_imagenet_index,
    imagenet_label_space,
    imagenet_names,
    imagenet_wnids,
    match_imagenet,
    name_key,
    prompt_templates,
    quoted_ways,
    read_class_names,
    respelled,
    similar_imagenet_name,
)
from counterground.photos.shards import (
    EXPORT_FILE,
    ShardFormat,
    describe_shards,
    is_saved_dataset,
    label_name,
)
from counterground.photos.sources import CocoFile, names_source, read_coco_file

__all__ = [
    "BOX",
    "EXPORT_FILE",
    "IMAGE_SUFFIXES",
    "MANIFEST_SCHEMA",
    "MAX_OPTIONS",
    "QUESTION_SCHEMA",
    "TABLE_SUFFIXES",
    "AnyPhoto",
    "Benchmark",
    "ClassAssignment",
    "CocoFile",
    "Discovered",
    "Geometry",
    "ImageType",
    "LabelSpace",
    "LoadedPhoto",
    "MadePhoto",
    "ObjectPlace",
    "ShardFormat",
    "UnreadablePhoto",
    "assign_classes",
    "badly_read_names",
    "benchmark_of_frame",
    "describe_gaps",
    "describe_shards",
    "find_imagenet_index",
    "image_type",
    "imagenet_label_space",
    "imagenet_names",
    "imagenet_wnids",
    "is_saved_dataset",
    "label_name",
    "load_photo",
    "mask_place",
    "match_imagenet",
    "name_key",
    "names_source",
    "object_place",
    "photo_geometry",
    "photo_id",
    "photo_size",
    "prompt_templates",
    "quoted_ways",
    "read_benchmark",
    "read_class_names",
    "read_coco_file",
    "read_croissant",
    "read_mask",
    "read_table",
    "respelled",
    "sample_photos",
    "similar_imagenet_name",
    "validate_manifest",
    "write_benchmark",
]
