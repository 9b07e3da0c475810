"""transformers models, from the Hugging Face hub or a folder."""

from counterground.models.huggingface._encoders import HUGGING_FACE
from counterground.models.huggingface._loading import (
    HfSource,
    from_pretrained,
    parse_hf,
    pinned,
    read_config,
    read_network,
    reading,
)

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
