"""Which photos may be shared, and what is left out and noted."""

from __future__ import annotations

import csv
from dataclasses import replace

import polars as pl
import pytest

from counterground.construction.exports import FORMATS, export

# Hundreds of ways to write a licence: a pure function, exported by nothing but the card.
from counterground.construction.exports._card import read_licence
from counterground.construction.settings import ExportSettings
from counterground.errors import UsageError
from counterground.photos import read_benchmark

CC = "https://creativecommons.org/licenses/"


@pytest.mark.parametrize(
    ("text", "name", "url"),
    [
        ("cc-by", "CC BY 4.0", f"{CC}by/4.0/"),
        ("CC BY-NC 3.0", "CC BY-NC 3.0", f"{CC}by-nc/3.0/"),
        ("CC_BY_SA", "CC BY-SA 4.0", f"{CC}by-sa/4.0/"),
        ("cc-by-nd", "CC BY-ND 4.0", f"{CC}by-nd/4.0/"),
        ("cc-by-nc-nd", "CC BY-NC-ND 4.0", f"{CC}by-nc-nd/4.0/"),
        ("CC-BY-SA-2.5", "CC BY-SA 2.5", f"{CC}by-sa/2.5/"),
        ("Creative Commons Attribution-NonCommercial 4.0 International", "CC BY-NC 4.0", f"{CC}by-nc/4.0/"),
        (
            "http://creativecommons.org/licenses/by-nc-nd/2.0/de/",
            "CC BY-NC-ND 2.0 DE",
            f"{CC}by-nc-nd/2.0/de/",
        ),
        ("CC BY-SA 3.0 US", "CC BY-SA 3.0 US", f"{CC}by-sa/3.0/us/"),
        ("cc-by-sa-2.5-scotland", "CC BY-SA 2.5 Scotland", f"{CC}by-sa/2.5/scotland/"),
        (f"{CC}by-sa/3.0/igo/deed.pt_BR", "CC BY-SA 3.0 IGO", f"{CC}by-sa/3.0/igo/"),
        (f"{CC}by/4.0/legalcode", "CC BY 4.0", f"{CC}by/4.0/"),
        (f"{CC}by/4.0/?ref=openverse", "CC BY 4.0", f"{CC}by/4.0/"),
        ("CC BY 4.0 (International)", "CC BY 4.0", f"{CC}by/4.0/"),
        ("CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/)", "CC BY 4.0", f"{CC}by/4.0/"),
        ("GPL-2+ (as Debian states)", "GPL-2+", ""),
        ("https://creativecommons.org/publicdomain/zero/1.0/deed.en", "CC0 1.0", None),
        ("https://creativecommons.org/publicdomain/mark/1.0/", "public domain", None),
        ("cc0", "CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
        ("pd", "public domain", "https://creativecommons.org/publicdomain/mark/1.0/"),
        ("Public Domain", "public domain", None),
        ("GPL-2+", "GPL-2+", ""),
        ("GPL-2 or later", "GPL-2 or later", ""),
        ("MIT", "MIT", ""),
    ],
)
def test_known_licences_may_be_passed_on(text, name, url):
    licence = read_licence(text)
    assert (licence.name, licence.obstacle) == (name, "")
    assert url is None or licence.url == url
    assert licence.noncommercial == ("NC" in name.split("CC BY")[-1])
    assert licence.verbatim == ("ND" in name)
    assert licence.needs_credit == (not name.startswith(("CC0", "public")))


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        " ",
        "all-rights-reserved",
        "© All rights reserved.",
        "copyright",
        "ask me",
        "cc",
        "by-x",
        "cc-by-xx-zz",
        "CC BY 4.0 except on Sundays",
        "GPL-2; ask me",
        "nocc-by",
        "free for research",
        "cc-sampling+",
        "CC BY 4.0 NC",
        "CC-BY-4.0-ND",
        "CC BY 4.0 SA",
        "cc-by-2.0-nc",
        "cc-by-xx",
        "CC BY 4.0 (no redistribution)",
        "CC BY (personal use only)",
        "CC BY (all rights reserved)",
        "CC BY; (photos: all rights reserved)",
        "Public Domain (in the US only)",
        "MIT (photos: all rights reserved; code: MIT)",
        f"{CC}by/4.0/ NC",
        f"{CC}by/3.0/ but only for research",
        f"{CC}by/4.0/nc/",
        f"{CC}by/4.0/deed.en; all rights reserved",
        "https://creativecommons.org/publicdomain/zero/1.0/; all rights reserved",
        "https://creativecommons.org/publicdomain/mark/1.0/ and all rights reserved",
        pytest.param("cc0;" * 500_000, id="longer than any licence"),  # at once
    ],
)
def test_anything_else_may_not(text):
    assert read_licence(text).obstacle


def test_several_licences_hold_all_at_once():
    both = read_licence("GPL-2 (cut-out); CC-BY-4.0 or CC-BY-SA-4.0 (per file) (background)")
    assert (both.obstacle, both.needs_credit, both.noncommercial, both.url) == ("", True, False, "")
    assert read_licence("CC-BY-4.0 or CC-BY-SA-4.0").url == f"{CC}by/4.0/ {CC}by-sa/4.0/"
    assert read_licence("cc0; cc-by-nc").noncommercial
    addresses = read_licence(f"{CC}by/4.0/; {CC}by-nc-nd/4.0/")
    assert (addresses.obstacle, addresses.noncommercial, addresses.verbatim) == ("", True, True)
    assert addresses.url == f"{CC}by/4.0/ {CC}by-nc-nd/4.0/"
    assert read_licence("CC BY 4.0 (CC BY-NC 4.0)").noncommercial
    assert read_licence("cc0; all-rights-reserved").obstacle == "all rights are reserved"


@pytest.fixture
def mixed(grouped):
    """Ice bears on grass all reserved, flamingos all unknown, the others free."""
    reserved = (pl.col("class_name") == "ice bear") & (pl.col("group") == "counter")
    licence = (
        pl.when(reserved)
        .then(pl.lit("all-rights-reserved"))
        .when(pl.col("class_name") == "flamingo")
        .then(None)
        .otherwise(pl.lit("cc-by"))
    )
    return replace(grouped, photos=grouped.photos.with_columns(licence=licence))


@pytest.mark.parametrize("form", FORMATS)
def test_a_shared_export_leaves_out_what_may_not_be_passed_on_and_lists_it(mixed, form, tmp_path):
    report = export(mixed, tmp_path / "out", [form])
    assert report.photos == 24
    back = read_benchmark(tmp_path / "out")
    assert set(back.photos["licence"]) == {"cc-by"}
    assert back.classes == mixed.classes
    with (tmp_path / "out" / "left_out.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    assert len(listed) == 24
    assert {(row["class_name"], row["reason"]) for row in listed} == {
        ("flamingo", "no licence is stated"),
        ("ice bear", "all rights are reserved"),
    }
    assert [row["path"] for row in listed] == report.left_out["path"].to_list()
    said = (
        (
            "24 of 48 photos left out of this export, because the licence does not allow sharing "
            "(no licence is stated: 16; all rights are reserved: 8)."
        ),
        "No photo is left of: flamingo.",
    )
    assert report.notes == said
    assert back.notes == (*mixed.notes, *said)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "No photo is left of: flamingo." in card
    assert "24 of 48 photos left out" in card


def test_a_private_export_has_all_photos_and_is_marked(mixed, tmp_path):
    report = export(mixed, tmp_path / "out", ["parquet"], ExportSettings(private=True))
    assert (report.photos, report.notes) == (48, ())
    assert read_benchmark(tmp_path / "out").version == mixed.version
    assert not (tmp_path / "out" / "left_out.csv").exists()
    card = (tmp_path / "out" / "README.md").read_text()
    assert "**Not for redistribution.**" in card
    assert "| not stated | **no**: no licence is stated |  | 16 |" in card


def test_a_licence_can_be_stated_for_photos_of_ones_own(mixed, tmp_path):
    report = export(mixed, tmp_path / "out", ["parquet"], ExportSettings(licence_for_unknown="cc-by-sa"))
    assert report.photos == 40
    assert "Licence stated by the exporter (cc-by-sa): 16 photos." in report.notes
    back = read_benchmark(tmp_path / "out").photos
    assert set(back.filter(pl.col("class_name") == "flamingo")["licence"]) == {"cc-by-sa"}
    with pytest.raises(UsageError, match=r"--licence-for-unknown: the licence 'mine'.*cc-by"):
        export(
            mixed,
            tmp_path / "other",
            formats=["parquet"],
            settings=ExportSettings(licence_for_unknown="mine"),
        )


def test_a_credit_line_goes_with_a_stated_licence(mixed, tmp_path):
    own = replace(
        mixed,
        photos=mixed.photos.with_columns(
            attribution=pl.when(pl.col("background") == "sky").then(None).otherwise(pl.col("attribution"))
        ),
    )
    bare = export(own, tmp_path / "bare", ["parquet"], ExportSettings(licence_for_unknown="cc-by"))
    assert any("but missing: add it" in note for note in bare.notes)
    how = {"licence_for_unknown": "cc-by", "attribution_for_unknown": "© Ada"}
    report = export(own, tmp_path / "out", ["parquet"], ExportSettings(**how))
    assert not any("Credit line" in note for note in report.notes)
    back = read_benchmark(tmp_path / "out").photos
    assert set(back.filter(pl.col("background") == "sky")["attribution"]) == {"© Ada"}
    assert (back["attribution"] == "© Ada").sum() == 8
    with pytest.raises(UsageError, match="goes with --licence-for-unknown"):
        export(
            own,
            tmp_path / "other",
            formats=["parquet"],
            settings=ExportSettings(attribution_for_unknown="© Ada"),
        )
