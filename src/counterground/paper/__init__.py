"""Wing: the paper. What it claims, its figures and its experiments, repeated. See README.md."""

from counterground.paper._minigpt4 import MINIGPT4

__all__ = ["MINIGPT4"]
