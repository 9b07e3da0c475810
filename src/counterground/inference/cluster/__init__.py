"""Encode what the store misses with the workers of a Ray cluster; Ray is imported only when it is used."""

from counterground.inference.cluster._pool import encode_on_ray
from counterground.inference.cluster._worker import check_ray

__all__ = ["check_ray", "encode_on_ray"]
