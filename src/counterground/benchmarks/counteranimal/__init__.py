"""CounterAnimal as its authors released it (paper section 2), checked against the paper."""

from counterground.benchmarks.counteranimal._counteranimal import (
    COUNTERANIMAL,
    compare_with_paper,
    get_counteranimal,
)

__all__ = ["COUNTERANIMAL", "compare_with_paper", "get_counteranimal"]
