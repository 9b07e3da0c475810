"""``python -m counterground``."""

from counterground.cli import console

console()
