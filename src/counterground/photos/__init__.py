"""Photos: the manifest, label spaces, readers and writers, and reading one photo safely."""

from counterground.photos._benchmark import (
    Benchmark,
    Discovered,
    benchmark_of_frame,
    describe_gaps,
    sample_photos,
    without_classes,
)
from counterground.photos._classified import ABSOLUTE, read_table
from counterground.photos._coco import CocoFile, coco_box, is_pixels, read_coco_file
from counterground.photos._geometry import (
    BOX,
    ObjectPlace,
    box_inside,
    mask_place,
    object_place,
    read_mask,
)
from counterground.photos._manifest import MANIFEST_SCHEMA, validate_manifest
from counterground.photos._native import LABEL_SPACE_FILE, write_benchmark, write_description
from counterground.photos._photo import (
    IMAGE_SUFFIXES,
    MOST_PHOTO_BYTES,
    AnyPhoto,
    LoadedPhoto,
    MadePhoto,
    UnreadablePhoto,
    image_type,
    is_intact,
    load_photo,
    photo_id,
    photo_size,
)
from counterground.photos._reading import read_benchmark
from counterground.photos._shards import EXPORT_FILE
from counterground.photos._source import names_source
from counterground.photos.labels import (
    LabelSpace,
    assign_classes,
    find_imagenet_index,
    imagenet_classes,
    imagenet_names,
    imagenet_wnids,
    match_imagenet,
    name_key,
    prompt_templates,
    quoted_ways,
    read_class_names,
    similar_imagenet_name,
)

__all__ = [
    "ABSOLUTE",
    "BOX",
    "EXPORT_FILE",
    "IMAGE_SUFFIXES",
    "LABEL_SPACE_FILE",
    "MANIFEST_SCHEMA",
    "MOST_PHOTO_BYTES",
    "AnyPhoto",
    "Benchmark",
    "CocoFile",
    "Discovered",
    "LabelSpace",
    "LoadedPhoto",
    "MadePhoto",
    "ObjectPlace",
    "UnreadablePhoto",
    "assign_classes",
    "benchmark_of_frame",
    "box_inside",
    "coco_box",
    "describe_gaps",
    "find_imagenet_index",
    "image_type",
    "imagenet_classes",
    "imagenet_names",
    "imagenet_wnids",
    "is_intact",
    "is_pixels",
    "load_photo",
    "mask_place",
    "match_imagenet",
    "name_key",
    "names_source",
    "object_place",
    "photo_id",
    "photo_size",
    "prompt_templates",
    "quoted_ways",
    "read_benchmark",
    "read_class_names",
    "read_coco_file",
    "read_mask",
    "read_table",
    "sample_photos",
    "similar_imagenet_name",
    "validate_manifest",
    "without_classes",
    "write_benchmark",
    "write_description",
]
