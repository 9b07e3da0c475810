"""Masks that are there already: the manifest's own, the alpha of photos, folders of PNGs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from masked_photos import SIZE, ellipse, make_benchmark, photo_of, pixels
from PIL import Image

from counterground.errors import UsageError
from counterground.masks import make_masks
from counterground.photos import benchmark_of_frame


def outcomes(masks):
    return dict(masks.table.select("path", "reason").iter_rows())


def test_the_masks_of_the_manifest_are_taken_as_they_are(tmp_path):
    soft = ellipse(value=200)
    root = tmp_path / "photos"
    benchmark = make_benchmark(root, {"a.png": soft, "b.png": soft}, mask=["m/a.png", None])
    (root / "m").mkdir()
    Image.merge("LA", [Image.new("L", SIZE, 7), soft]).save(root / "m/a.png")
    masks = make_masks(benchmark, "manifest", tmp_path / "masks")
    assert outcomes(masks) == {"a.png": None, "b.png": "missing"}
    masked = masks.apply(benchmark)
    assert masked.version == benchmark.version
    assert masked.photos["mask"].to_list() == ["files/a.png.png", None]
    assert (pixels(masked.mask_path("files/a.png.png")) == np.asarray(soft)).all()
    assert masked.notes[-1] == "Masks: 1 of 2 photos have a usable mask (manifest); of the others: missing 1."
    part = replace(benchmark, photos=benchmark.photos.head(1))
    assert "have one. 1 of 2 photos have a usable mask" in masks.apply(part).notes[-1]


def test_the_alpha_of_photos(tmp_path):
    mask, root = ellipse(), tmp_path / "photos"
    benchmark = make_benchmark(root, {"alpha.png": mask, "opaque.png": mask, "plain.png": mask})
    for name, alpha in (("alpha", mask), ("opaque", Image.new("L", SIZE, 255))):
        image = photo_of(mask)
        image.putalpha(alpha)
        image.save(root / f"{name}.png")
    benchmark = benchmark_of_frame(benchmark.photos.select("path", "class_name"), root, "made")
    masks = make_masks(benchmark, "alpha", tmp_path / "masks")
    assert outcomes(masks) == {"alpha.png": None, "opaque.png": "full", "plain.png": "missing"}
    assert (pixels(tmp_path / "masks/files/alpha.png.png") == np.asarray(mask)).all()


@pytest.mark.parametrize(
    "name", ["ox/grass/a.png.png", "ox/grass/a.png", "grass/a.png", "a.png.png", "a.png"]
)
def test_a_png_has_the_name_of_the_photo_with_or_without_suffix_and_folders(tmp_path, name):
    benchmark = make_benchmark(tmp_path / "photos", {"ox/grass/a.png": ellipse()})
    file = tmp_path / "pngs" / name
    file.parent.mkdir(parents=True)
    ellipse().save(file)
    masked = make_masks(benchmark, tmp_path / "pngs", tmp_path / "masks").apply(benchmark)
    assert (pixels(masked.mask_path(masked.photos["mask"][0])) == np.asarray(ellipse())).all()


def test_what_a_folder_lacks_is_named_and_counted(tmp_path):
    names = ["good", "missing", "size", "empty", "full", "dark", "coloured", "damaged", "twice/x", "other/x"]
    benchmark = make_benchmark(tmp_path / "photos", {f"{name}.jpg": ellipse() for name in names})
    folder = tmp_path / "pngs"
    folder.mkdir()
    ellipse().save(folder / "good.png")
    ellipse(size=(61, 40)).save(folder / "size.png")
    Image.new("L", SIZE).save(folder / "empty.png")
    Image.new("L", SIZE, 255).save(folder / "full.png")
    ellipse(value=1).save(folder / "dark.png")
    photo_of(ellipse()).save(folder / "coloured.png")
    (folder / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    ellipse().save(folder / "x.png")
    ellipse().save(folder / "stranger.png")
    masks = make_masks(benchmark, folder, tmp_path / "masks")
    assert outcomes(masks) == {
        "good.jpg": None,
        "missing.jpg": "missing",
        "size.jpg": "wrong size",
        "empty.jpg": "empty",
        "full.jpg": "full",
        "dark.jpg": "empty",
        "coloured.jpg": "unreadable",
        "damaged.jpg": "unreadable",
        "twice/x.jpg": "ambiguous",
        "other/x.jpg": "ambiguous",
    }
    assert masks.notes == ("1 PNG with the name of no photo: stranger.png.",)
    assert (masks.usable, masks.reasons()["ambiguous"]) == (1, 2)


def test_photos_beside_their_masks_are_no_masks(tmp_path):
    root = tmp_path / "photos"
    benchmark = make_benchmark(root, {"a.png": ellipse()})
    ellipse().save(root / "a.png.png")
    masks = make_masks(benchmark, root, tmp_path / "masks")
    assert outcomes(masks) == {"a.png": None}


def test_a_folder_of_other_names_is_refused(tmp_path):
    benchmark = make_benchmark(tmp_path / "photos", {"a.jpg": ellipse()})
    (tmp_path / "pngs").mkdir()
    with pytest.raises(UsageError, match="has no PNG"):
        make_masks(benchmark, tmp_path / "pngs", tmp_path / "masks")
    ellipse().save(tmp_path / "pngs" / "b.png")
    with pytest.raises(UsageError, match=r"No PNG of .* has the name of a photo: 'b.png' is not 'a.jpg'"):
        make_masks(benchmark, tmp_path / "pngs", tmp_path / "masks")


def test_an_unknown_source_is_named(tmp_path):
    benchmark = make_benchmark(tmp_path / "photos", {"a.jpg": ellipse()})
    with pytest.raises(UsageError, match=r"'grabcat' is not a source of masks.*Did you mean 'grabcut'"):
        make_masks(benchmark, "grabcat", tmp_path / "masks")
