"""Models of transformers, from the Hugging Face hub or a folder."""

from counterground.models.huggingface._family import HUGGING_FACE

__all__ = ["HUGGING_FACE"]
