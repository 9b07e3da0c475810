"""Room: decision. How many photos a question needs, and what those at hand decide. See README.md."""

from counterground.decision._sequential import Until, look, score_stopped

__all__ = ["Until", "look", "score_stopped"]
