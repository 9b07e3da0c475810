"""The review queue: several reasons before one, strong before weak, none last, ties as they stood."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from counterground.construction.pool import REVIEW_LABELS, SIGNAL_SCHEMA, review_queue


def queue(rows, paths):
    """``rows``: (path, signal, reason, flagged, priority)."""
    whole = [
        {
            "path": path,
            "signal": signal,
            "reason": reason,
            "value": 1.0,
            "flagged": flagged,
            "priority": priority,
            "explanation": f"{signal} of {path}.",
            "related": None,
        }
        for path, signal, reason, flagged, priority in rows
    ]
    photos = pl.DataFrame(
        {"path": paths, "class_name": ["a"] * len(paths)}, schema={"path": pl.String, "class_name": pl.String}
    )
    return review_queue(pl.DataFrame(whole, schema=SIGNAL_SCHEMA), photos)


def test_reasons_and_explanations_stand_with_the_strongest_first():
    found = queue(
        [
            ("a", "sharpness", "feature noise", True, 0.4),
            ("a", "size", "feature noise", True, 0.9),
            ("a", "class rank", "label noise", True, 0.6),
            ("a", "entropy", "feature noise", False, 1.0),
        ],
        ["a"],
    )
    assert found["explanations"].to_list() == [["size of a.", "sharpness of a.", "class rank of a."]]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcdefgh"),
            st.sampled_from(["s1", "s2", "s3"]),
            st.sampled_from(REVIEW_LABELS[1:]),
            st.booleans(),
            st.floats(0, 1),
        ),
        max_size=40,
    )
)
def test_the_order_is_that_of_the_rule(rows):
    paths = list("hgfedcba")
    found = queue(rows, paths)
    assert sorted(found["path"]) == sorted(paths)
    flags = {path: [row for row in rows if row[0] == path and row[3]] for path in paths}
    rule = {
        path: (len({row[2] for row in flags[path]}), max((row[4] for row in flags[path]), default=0))
        for path in paths
    }
    expected = sorted(paths, key=lambda path: (-rule[path][0] - 0.999 * rule[path][1], paths.index(path)))
    assert found["path"].to_list() == expected
