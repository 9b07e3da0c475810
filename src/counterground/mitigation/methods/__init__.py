"""The built-in methods, one file each."""

from counterground.mitigation._method import Mitigation

METHODS: tuple[Mitigation, ...] = ()

__all__ = ["METHODS"]
