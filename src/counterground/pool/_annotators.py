"""Names of annotators: each person keeps one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from counterground.errors import UsageError
from counterground.photos import name_key

if TYPE_CHECKING:
    from counterground.pool._store import Pool


def check_annotators(pool: Pool, names: Iterable[str]) -> None:
    """Refuse another spelling of an earlier annotator's name: one person would count as two.

    Raises:
        UsageError: there is one; the message names both.
    """
    earlier = pool.decisions()["annotator"].unique().to_list()
    known = {name_key(name): name for name in sorted(earlier)}
    for name in names:
        same = known.get(name_key(name), name)
        if name not in earlier and same != name:
            raise UsageError(
                f"The pool has decisions by {same!r}: use that name, since {name!r} would count as a second "
                "person."
            )
