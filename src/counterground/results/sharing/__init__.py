"""What can be shared from a run: citations, model cards, results for the hub."""

from __future__ import annotations

from counterground.results.sharing._citations import bibliography
from counterground.results.sharing._eval_results import eval_results, eval_yaml
from counterground.results.sharing._model_card import model_cards

__all__ = [
    "bibliography",
    "eval_results",
    "eval_yaml",
    "model_cards",
]
