"""Reading one photo: every mode, every way to fail."""

import hashlib
import io
import pickle
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from counterground.photos import IMAGE_SUFFIXES, UnreadablePhoto, load_photo, photo_id


def picture(mode="RGB", size=(61, 47)):
    """A smooth colour picture with every channel different."""
    x, y = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    image = Image.fromarray(np.stack([x, y, 255 - (x + y) / 2], axis=2).astype(np.uint8))
    if "A" in mode:
        image.putalpha(Image.fromarray(x.astype(np.uint8)))
    return image.convert(mode)


def write(path, image, *args, **options):
    image.save(path, *args, **options)
    return path


def as_pil(path):
    with Image.open(path) as image, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(image.convert("RGB"))


RGB_FILES = {
    "baseline.jpg": {},
    "progressive.jpg": {"progressive": True, "quality": 90},
    "restarts.jpg": {"restart_marker_rows": 1, "subsampling": 0},
    "photo.png": {},
    "photo.bmp": {},
    "photo.ppm": {},
    "photo.tif": {"compression": "tiff_lzw"},
    "lossless.webp": {"lossless": True},
    "lossy.webp": {},
}


@pytest.mark.parametrize("name", RGB_FILES)
def test_rgb_photos_are_exactly_pils(tmp_path, name):
    path = write(tmp_path / name, picture(), **RGB_FILES[name])
    photo = load_photo(path)
    assert (photo.mode, photo.converted, photo.image.mode) == ("RGB", False, "RGB")
    np.testing.assert_array_equal(np.asarray(photo.image), as_pil(path))


OTHER_FILES = {
    "grey.jpg": ("L", "L", {}),
    "cmyk.jpg": ("CMYK", "CMYK", {}),
    "cmyk.tif": ("CMYK", "CMYK", {}),
    "palette.png": ("P", "P", {}),
    "palette.gif": ("P", "P", {}),
    "palette-index.png": ("P", "P", {"transparency": 3}),
    "palette-bytes.png": ("P", "P", {"transparency": bytes(range(256))}),
    "bits.png": ("1", "1", {}),
    "grey.png": ("L", "L", {}),
    "grey-alpha.png": ("LA", "LA", {}),
    "alpha.png": ("RGBA", "RGBA", {}),
    "alpha.webp": ("RGBA", "RGBA", {"lossless": True}),
    "lab.tif": ("LAB", "LAB", {}),
    "ycbcr.tif": ("YCbCr", "YCbCr", {}),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_other_modes_are_converted_as_pil_does(tmp_path, name):
    mode, stored, options = OTHER_FILES[name]
    if mode == "P":
        image = picture().quantize(256)
    else:
        image = Image.merge("LAB", picture().split()) if mode == "LAB" else picture(mode)
    path = write(tmp_path / name, image, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        photo = load_photo(path)
    assert (photo.mode, photo.converted, photo.image.mode) == (stored, True, "RGB")
    np.testing.assert_array_equal(np.asarray(photo.image), as_pil(path))


def test_converting_first_matters_for_palette_photos(tmp_path):
    path = write(tmp_path / "palette.png", picture(size=(300, 200)).quantize(64))
    right = load_photo(path).image.resize((64, 64), Image.Resampling.BICUBIC)
    wrong = load_photo(path, rgb=False).image.resize((64, 64), Image.Resampling.BICUBIC).convert("RGB")
    assert np.abs(np.asarray(right, dtype=float) - np.asarray(wrong)).max() > 3


def test_adobe_cmyk_is_not_read_inverted(tmp_path):
    """Adobe stores CMYK inverted and says so in a marker; white must stay white."""
    white = Image.new("CMYK", (16, 16), (0, 0, 0, 0))
    path = write(tmp_path / "adobe.jpg", white, quality=95)
    assert b"Adobe" in path.read_bytes()
    assert np.asarray(load_photo(path).image).min() > 250


@pytest.mark.parametrize(
    ("name", "dtype"), [("grey.png", np.uint16), ("grey.tif", np.uint16), ("i.tif", np.int32)]
)
def test_16_bit_grey_is_scaled_not_clipped(tmp_path, name, dtype):
    values = np.arange(65536, dtype=dtype).reshape(256, 256)
    path = write(tmp_path / name, Image.fromarray(values))
    photo = load_photo(path)
    assert photo.converted
    assert photo.mode in {"I;16", "I"}
    pixels = np.asarray(photo.image).astype(float)
    assert pixels.shape == (256, 256, 3)
    assert np.abs(pixels - values[..., None] / 257).max() <= 0.5
    assert (as_pil(path) == 255).mean() > 0.9  # what PIL alone would give


def test_big_endian_16_bit(tmp_path):
    values = np.arange(0, 65536, 16, dtype=">u2").reshape(64, 64)
    path = write(tmp_path / "big.tif", Image.fromarray(values))
    photo = load_photo(path)
    assert photo.mode == "I;16B"
    np.testing.assert_array_equal(np.asarray(photo.image)[..., 0], (values.astype(int) + 128) // 257)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full((4, 4), 70000, np.int32), "beyond 16 bits"),
        (np.full((4, 4), -1, np.int32), "beyond 16 bits"),
        (np.full((4, 4), 4095, np.uint16), r"12 bits or fewer \(at most 4,095\)"),
        (np.full((4, 4), 255, np.int32), r"12 bits or fewer \(at most 255\)"),
        (np.full((4, 4), 0.5, np.float32), "floating-point"),
    ],
)
def test_pixels_without_a_defined_range_are_refused(tmp_path, values, reason):
    path = write(tmp_path / "x.tif", Image.fromarray(values))
    with pytest.raises(UnreadablePhoto, match=reason):
        load_photo(path)
    assert load_photo(path, rgb=False).image.mode in {"I", "I;16", "F"}


def test_the_orientation_tag_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = write(tmp_path / "rotated.jpg", picture(), exif=exif)
    assert load_photo(path).image.size == (61, 47)
    np.testing.assert_array_equal(np.asarray(load_photo(path).image), as_pil(path))


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_of_an_animation_the_first_frame_is_read(tmp_path, name):
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if name == "a.webp" else {}
    path = write(tmp_path / name, frames[0], save_all=True, append_images=frames[1:], **options)
    with Image.open(path) as image:
        assert image.n_frames == 3
    pixels = np.asarray(load_photo(path).image)
    assert pixels.shape == (10, 20, 3)
    assert (pixels == (255, 0, 0)).all()


def jpeg(**options):
    buffer = io.BytesIO()
    picture().save(buffer, "JPEG", **options)
    return buffer.getvalue()


def eps():
    buffer = io.BytesIO()
    picture().save(buffer, "EPS")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"<html>404 not found</html>", "not an image"),
        (b"\0" * 4096, "not an image"),
        (eps(), "not an image"),  # PIL would start a PostScript interpreter
        (jpeg()[:-1], "truncated"),
        (jpeg()[:900], "truncated"),
        (jpeg(progressive=True)[:-40], "truncated"),
        (jpeg()[:20], "truncated or damaged JPEG header"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "truncated or damaged PNG header"),
    ],
)
def test_reasons(tmp_path, data, reason):
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    with pytest.raises(UnreadablePhoto) as caught:
        load_photo(path)
    assert caught.value.path == path
    assert caught.value.reason.startswith(reason)
    assert len(caught.value.reason) < 150
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "0x" not in str(caught.value)


@pytest.mark.parametrize("name", RGB_FILES)
@pytest.mark.filterwarnings("ignore:Truncated File Read", "ignore:Corrupt EXIF", "ignore:Metadata Warning")
def test_a_file_cut_anywhere_is_refused_or_loses_no_pixel(tmp_path, name):
    path = write(tmp_path / name, picture(), **RGB_FILES[name])
    data, whole = path.read_bytes(), as_pil(path)
    refused = 0
    cuts = {*range(0, len(data), max(1, len(data) // 100)), *range(len(data) - 30, len(data))}
    for cut in sorted(cuts):
        path.write_bytes(data[:cut])
        try:
            pixels = np.asarray(load_photo(path).image)
        except UnreadablePhoto:
            refused += 1
        else:
            np.testing.assert_array_equal(pixels, whole)
    assert refused >= 100


def test_damaged_pixels_are_refused(tmp_path):
    path = write(tmp_path / "x.png", picture())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(UnreadablePhoto, match="truncated or damaged"):
        load_photo(path)


def png_header(width, height):
    def chunk(kind, content):
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", ihdr)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(20000, 10000))
    with pytest.raises(UnreadablePhoto) as caught:
        load_photo(path)
    assert caught.value.reason == "decompression bomb (20000 x 10000)"


@pytest.mark.parametrize("size", [(1, 60000), (60000, 1), (2, 401)])
def test_extreme_sides_are_refused_for_what_resizing_them_would_take(tmp_path, size):
    path = write(tmp_path / "x.png", Image.new("RGB", size))
    with pytest.raises(UnreadablePhoto) as caught:
        load_photo(path)
    assert caught.value.reason == f"one side more than 200 times the other ({size[0]} x {size[1]})"
    assert load_photo(write(tmp_path / "y.png", Image.new("RGB", (2, 400)))).image.size == (2, 400)


def test_the_limit_is_ours_whatever_the_host_set(tmp_path, monkeypatch):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(20000, 10000))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(UnreadablePhoto, match="decompression bomb"):
        load_photo(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert load_photo(write(tmp_path / "small.jpg", picture())).image.size == (61, 47)


def test_missing_files_and_folders(tmp_path):
    for path, reason in ((tmp_path / "none.jpg", "missing"), (tmp_path, "a folder, not a file")):
        for read in (load_photo, photo_id):
            with pytest.raises(UnreadablePhoto) as caught:
                read(path)
            assert caught.value.reason == reason


def test_changed_content_is_found_out(tmp_path):
    path = write(tmp_path / "x.jpg", picture())
    before = photo_id(path)
    assert before == hashlib.sha256(path.read_bytes()).hexdigest()
    assert load_photo(path, expect_id=before).image.size == (61, 47)
    write(path, picture().transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    with pytest.raises(UnreadablePhoto) as caught:
        load_photo(path, expect_id=before)
    assert caught.value.reason == "content changed since the manifest was written"
    path.write_bytes(b"")
    with pytest.raises(UnreadablePhoto, match="empty file"):
        load_photo(path, expect_id=before)


def test_the_exception_survives_a_process_boundary():
    error = pickle.loads(pickle.dumps(UnreadablePhoto(Path("a/b.jpg"), "truncated")))
    assert (error.path, error.reason) == (Path("a/b.jpg"), "truncated")


def test_threads_read_the_same_and_leave_pils_settings_alone(tmp_path):
    paths = [write(tmp_path / name, picture(), **options) for name, options in RGB_FILES.items()]
    paths.append(write(tmp_path / "p.png", picture().quantize(256), transparency=bytes(range(256))))
    (tmp_path / "cut.jpg").write_bytes(jpeg()[:900])
    expected = [as_pil(path) for path in paths]
    settings = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    barrier = threading.Barrier(8)

    def read(_):
        barrier.wait()
        with pytest.raises(UnreadablePhoto, match="truncated"):
            load_photo(tmp_path / "cut.jpg")
        return [np.asarray(load_photo(path).image) for path in paths]

    with ThreadPoolExecutor(8) as pool:
        for read_in_a_thread in pool.map(read, range(8)):
            for pixels, right in zip(read_in_a_thread, expected, strict=True):
                np.testing.assert_array_equal(pixels, right)
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)) == settings
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_every_suffix_taken_for_a_photo_can_be_read(tmp_path):
    formats = Image.registered_extensions()
    for suffix in sorted(IMAGE_SUFFIXES):
        image = picture("L") if suffix == ".pgm" else picture()
        path = write(tmp_path / f"x{suffix}", image, formats.get(suffix))
        np.testing.assert_array_equal(np.asarray(load_photo(path).image), as_pil(path))


def test_a_file_that_no_photo_is_as_large_as_is_not_read(tmp_path):
    with (tmp_path / "a.png").open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.truncate(2**31)
    with pytest.raises(UnreadablePhoto, match="no more than 1,073,741,824 are read"):
        load_photo(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("size", "suffix", "expected"),
    [
        ((1100, 1024), ".jpg", (550, 512)),
        ((1100, 1023), ".jpg", (1100, 1023)),
        ((2100, 2048), ".jpg", (525, 512)),
        ((1100, 1024), ".png", (1100, 1024)),
    ],
)
def test_both_sides_keep_the_pixels_asked_for(size, suffix, expected, tmp_path):
    path = tmp_path / f"photo{suffix}"
    Image.new("RGB", size, "red").save(path)
    assert load_photo(path, at_least=512).image.size == expected
    assert load_photo(path).image.size == size
