"""Results that others can check: bundles, their audits, and boards of them. See README.md."""

from counterground.sharing._audit import Audit, audit_bundle
from counterground.sharing._board import ORIGINS, Entry, read_board, write_board
from counterground.sharing._bundle import benchmark_of, check_against, check_bundle, share_run
from counterground.sharing._formats import ResultFormat, write_results

__all__ = [
    "ORIGINS",
    "Audit",
    "Entry",
    "ResultFormat",
    "audit_bundle",
    "benchmark_of",
    "check_against",
    "check_bundle",
    "read_board",
    "share_run",
    "write_board",
    "write_results",
]
