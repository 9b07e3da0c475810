"""One composite: what is pasted, what is left of either photo, and what its hash depends on."""

import hashlib
import pickle
from dataclasses import replace

import numpy as np
import pytest
from disc_photos import SIDE, disc, save
from PIL import Image

from counterground.composites import Composite, MaskedPhoto, Placement
from counterground.photos import UnreadablePhoto, load_photo, photo_id, photo_size

RED, GREEN, BLUE = (220, 30, 30), (30, 180, 30), (30, 30, 220)


@pytest.fixture
def red_on_green(tmp_path):
    return masked(tmp_path, "red", RED, GREEN, disc((32, 32), 14, soft=True))


@pytest.fixture
def blue_on_white(tmp_path):
    return masked(tmp_path, "blue", BLUE, (250, 250, 250), disc((20, 22), 9, soft=True))


def masked(folder, name, own, behind, mask):
    pixels = behind + mask[..., None] / 255 * (np.array(own) - behind)
    return saved(folder, name, np.asarray(pixels + 0.5, np.uint8), mask)


def saved(folder, name, pixels, mask):
    photo, file = folder / f"{name}.png", folder / f"{name}-mask.png"
    save(photo, pixels)
    save(file, mask)
    return MaskedPhoto(photo, photo_id(photo), file, photo_id(file))


def pixels_of(composite):
    return np.asarray(load_photo(composite).image).astype(int)


def test_pasted_onto_its_own_photo_only_its_soft_edge_is_firmer(red_on_green):
    made = pixels_of(Composite(red_on_green, red_on_green, refill=False))
    mask = np.asarray(Image.open(red_on_green.mask))
    change = np.abs(made - np.asarray(Image.open(red_on_green.photo)).astype(int)).max(axis=2)
    assert change[(mask == 0) | (mask == 255)].max() <= 1
    assert change.max() < 50


def test_of_the_old_background_nothing_is_left_even_in_soft_edges(red_on_green):
    made = pixels_of(Composite(red_on_green, None))
    alpha = np.asarray(Image.open(red_on_green.mask)).astype(int)[..., None] / 255
    expected = 128 + alpha * (np.array(RED) - 128)
    assert np.abs(made - expected).max() <= 10  # with the green of the edge it would be off by 37
    assert (made[alpha[..., 0] == 0] == 128).all()


def test_of_the_other_object_nothing_is_left(red_on_green, blue_on_white):
    refilled = pixels_of(Composite(None, blue_on_white))
    assert np.abs(refilled - 250).max() <= 6
    made = pixels_of(Composite(red_on_green, blue_on_white))
    outside = np.asarray(Image.open(red_on_green.mask)) == 0
    assert np.abs(made[outside] - 250).max() <= 6
    assert np.abs(made[32, 32] - RED).max() <= 2


@pytest.mark.parametrize(("side", "radius", "rim"), [(64, 14, 0.8), (1024, 224, 2)])
def test_a_hard_mask_that_is_too_large_leaves_no_rim(tmp_path, side, radius, rim):
    rows, columns = np.mgrid[:side, :side]
    away = np.hypot(rows - side / 2, columns - side / 2)
    photo = np.where((away < radius)[..., None], RED, GREEN).astype(np.uint8)
    mask = np.where(away < radius + rim, 255, 0).astype(np.uint8)
    made = pixels_of(Composite(saved(tmp_path, "own", photo, mask), None))
    assert (made[..., 1] - made[..., 0] > 60).sum() < 12  # the outlines have 93 and 704 pixels


@pytest.mark.parametrize(
    ("mask", "why"),
    [
        (disc((32, 32), 14)[:, :48], "has another size than its photo"),
        (disc((32, 32), 1), "too thin to be cut out"),
    ],
)
def test_a_mask_that_gives_no_object_gives_no_composite(tmp_path, mask, why):
    own = masked(tmp_path, "own", RED, GREEN, disc((32, 32), 14))
    save(own.mask, mask)
    with pytest.raises(UnreadablePhoto, match=rf"{why}.* \(own-mask\.png\)"):
        load_photo(Composite(replace(own, mask_id=photo_id(own.mask)), None))


def test_an_object_is_put_where_and_as_large_as_it_is_told(red_on_green, blue_on_white):
    made = pixels_of(Composite(red_on_green, blue_on_white, placement=Placement(0.04, 0.3, 0.6)))
    red = (made[..., 0] - made[..., 1]) > 95
    rows, columns = np.nonzero(red)
    assert abs(red.mean() - 0.04) < 0.008
    assert abs(columns.mean() / SIDE - 0.3) < 0.02
    assert abs(rows.mean() / SIDE - 0.6) < 0.02


def test_an_object_that_would_be_cut_off_is_moved_inside(red_on_green):
    made = pixels_of(Composite(red_on_green, None, placement=Placement(0.1, 0.0, 1.0)))
    red = (made[..., 0] - made[..., 1]) > 95
    assert abs(red.mean() - 0.1) < 0.015


def test_an_object_that_the_frame_cut_off_stays_at_the_edge(tmp_path):
    cut = masked(tmp_path, "cut", RED, GREEN, disc((62, 32), 16, soft=True))
    made = pixels_of(Composite(cut, None, placement=Placement(0.05, 0.5, 0.3)))
    assert ((made[-1, :, 0] - made[-1, :, 1]) > 95).any()


@pytest.mark.parametrize(
    ("frame", "behind"), [((4, 400), (400, 4)), ((400, 4), (4, 400)), ((2, 2), (1, 200))]
)
def test_a_strip_covers_a_frame_across_it(frame, behind, tmp_path):
    sources = []
    for name, shape in (("frame", frame), ("behind", behind)):
        sources.append(masked(tmp_path, name, RED, GREEN, np.full(shape, 255, np.uint8)))
    made = pixels_of(Composite(sources[0], sources[1], refill=False))
    assert made.shape == (*frame, 3)


def test_large_photos_are_reduced_first(tmp_path):
    mask = np.zeros((600, 900), np.uint8)
    mask[200:400, 300:600] = 255
    made = Composite(saved(tmp_path, "large", np.full((600, 900, 3), 90, np.uint8), mask), None)
    assert photo_size(made) == load_photo(made).image.size == (768, 512)


def test_the_hash_is_that_of_contents_and_settings_not_of_places(red_on_green, blue_on_white, tmp_path):
    first = Composite(red_on_green, blue_on_white)
    moved = tmp_path / "elsewhere.png"
    moved.write_bytes(red_on_green.photo.read_bytes())
    assert Composite(replace(red_on_green, photo=moved), blue_on_white).photo_id == first.photo_id
    others = [
        Composite(blue_on_white, red_on_green),
        Composite(red_on_green, None),
        Composite(None, blue_on_white),
        replace(first, refill=False),
        replace(first, placement=Placement(0.1, 0.5, 0.5)),
    ]
    assert len({made.photo_id for made in [first, *others]}) == 6
    assert photo_id(first) == first.photo_id


def test_a_recipe_that_was_sent_to_another_process_gives_the_same_pixels(red_on_green, blue_on_white):
    made = Composite(red_on_green, blue_on_white)
    sent = pickle.loads(pickle.dumps(made.absolute()))
    assert sent.photo_id == made.photo_id
    assert hashlib.sha256(sent.make().tobytes()).digest() == hashlib.sha256(made.make().tobytes()).digest()


def test_a_file_that_is_gone_or_changed_is_named(tmp_path):
    mask = disc((32, 32), 11, soft=True)
    made = Composite(
        masked(tmp_path, "own", (1, 2, 3), GREEN, mask), masked(tmp_path, "new", BLUE, RED, mask)
    )
    save(tmp_path / "new.png", np.zeros((SIDE, SIDE, 3), np.uint8))
    with pytest.raises(UnreadablePhoto, match=r"content changed .* \(new\.png\)"):
        load_photo(made)
    with pytest.raises(UnreadablePhoto, match=r"new\.png"):
        photo_id(made)
    (tmp_path / "own.png").unlink()
    with pytest.raises(UnreadablePhoto, match=r"missing"):
        load_photo(made)
