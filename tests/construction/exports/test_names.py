"""File names that every system keeps, and no two that one of them would take for the same."""

from __future__ import annotations

import re
import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

# Any text at all is tried with these; a whole export for each would take hours.
from counterground.construction.exports._layout import apart, safe_name

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    [
        "con",
        "Aux.jpg",
        "LPT1 .png",
        ".hidden",
        "trailing. ",
        "a/b\\c",
        "..",
        "a\u202egpj.exe",
    ]
)


@given(TEXTS)
@example("é" * 100)
@example("　.　")
@example(". con")
def test_a_safe_name_is_one_and_stays_as_it_is(text):
    name = safe_name(text)
    assert name
    assert not re.search(r'[<>:"/\\|?*\x00-\x1f\x7f]', name)
    assert name == name.strip()
    assert not name.startswith(".")
    assert not name.endswith(".")
    assert unicodedata.is_normalized("NFC", name)
    assert safe_name(name) == name


def folded(path):
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


@given(
    st.lists(
        st.lists(
            st.sampled_from(["a", "A", "á", "a\u0301", "b.jpg", "B.jpg", "ß", "ss"]), min_size=1, max_size=3
        )
    )
)
def test_no_two_paths_collide_on_any_system(parts):
    wanted = ["/".join(part) for part in parts]
    placed = apart(wanted, ["a"])
    assert apart(wanted, ["a"]) == placed
    files = [folded(path) for path in placed]
    assert len(set(files)) == len(files)
    assert "a" not in files
