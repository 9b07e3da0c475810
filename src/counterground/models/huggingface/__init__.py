"""transformers models, from the Hugging Face hub or a folder."""

from counterground.models.huggingface._family import HUGGING_FACE
from counterground.models.huggingface._loading import (
    from_pretrained,
    pinned,
    read_config,
    read_network,
    reading,
)
from counterground.models.huggingface._source import HfSource, parse_hf

__all__ = [
    "HUGGING_FACE",
    "HfSource",
    "from_pretrained",
    "parse_hf",
    "pinned",
    "read_config",
    "read_network",
    "reading",
]
