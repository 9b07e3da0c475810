from __future__ import annotations

import gzip
import os
import stat
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from tars import write_tar

from counterground.benchmarks import _fetch as _archive  # its limits are lowered

# Hostile archives need no benchmark in them.
from counterground.benchmarks._fetch import unpack
from counterground.benchmarks._packages import read_deb
from counterground.errors import CounterGroundError
from counterground.photos import read_benchmark

CONTENTS = {f"LAION-final/100 black swan/common-water/{i}.jpg": os.urandom(3000 + i) for i in range(6)}


def _zip(path: Path, contents=CONTENTS) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir("LAION-final")
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def _there(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def _make(kind: str, path: Path, contents=CONTENTS) -> Path:
    return _zip(path, contents) if kind == "zip" else write_tar(path, contents.items(), kind)


KINDS = ["zip", "w:", "w:gz", "w:xz"]


@pytest.mark.parametrize("kind", KINDS)
def test_unpacks_every_file(tmp_path, kind):
    seen = []
    unpack([_make(kind, tmp_path / "a")], tmp_path / "out", lambda done, total: seen.append((done, total)))
    assert _there(tmp_path / "out") == CONTENTS
    assert seen == [(done, 0) for done in range(1, 7)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_stopped_leaves_nothing_and_ends_in_the_same_files(tmp_path, kind):
    archive, out = _make(kind, tmp_path / "a"), tmp_path / "out"

    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack([archive], out, stop)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    unpack([archive], out)
    assert _there(out) == CONTENTS
    archive.unlink()
    unpack([archive], out)  # is there


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", ["../escaped", "a/../../escaped", "/escaped", "C:/escaped", "a\\..\\escaped"]
)
def test_nothing_lands_outside(tmp_path, kind, name):
    archive = _make(kind, tmp_path / "a", {"fine.jpg": b"1", name: b"bad"})
    with pytest.raises(CounterGroundError, match=r"not safe to unpack: .*would land outside"):
        unpack([archive], tmp_path / "deep" / "out")
    assert not [path for path in tmp_path.rglob("*") if "escaped" in path.name]
    assert not list((tmp_path / "deep").iterdir())


def test_a_name_that_begins_with_a_null_byte_is_refused(tmp_path):
    archive = _zip(tmp_path / "a", {"Xescaped": b"bad"})
    archive.write_bytes(archive.read_bytes().replace(b"Xescaped", b"\0escaped"))  # zipfile cannot write it
    with pytest.raises(CounterGroundError, match=r"not safe to unpack: .*would land outside"):
        unpack([archive], tmp_path / "out")


def test_a_name_that_is_not_the_utf_8_it_says_is_one_clear_line(tmp_path):
    archive = _zip(tmp_path / "a", {"\xe9.jpg": b"1"})
    archive.write_bytes(archive.read_bytes().replace("\xe9".encode(), b"\xff\xff"))
    with pytest.raises(CounterGroundError, match="cut short or corrupt"):
        unpack([archive], tmp_path / "out")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    info = tarfile.TarInfo("photo.jpg")
    info.type, info.linkname = kind, "/etc/passwd"
    write_tar(tmp_path / "a.tar", [info])
    with pytest.raises(CounterGroundError, match=r"'photo\.jpg' is not a regular file"):
        unpack([tmp_path / "a.tar"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO])
def test_links_and_devices_in_a_zip_are_refused(tmp_path, mode):
    info = zipfile.ZipInfo("photo.jpg")
    info.external_attr = (mode | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(CounterGroundError, match="is not a regular file"):
        unpack([tmp_path / "a.zip"], tmp_path / "out")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("limit", "value"), [("MAX_MEMBER_BYTES", 3003), ("MAX_TOTAL_BYTES", 9000), ("MAX_MEMBERS", 4)]
)
def test_bombs_are_refused(tmp_path, monkeypatch, kind, limit, value):
    monkeypatch.setattr(_archive, limit, value)
    with pytest.raises(CounterGroundError, match="goes beyond 64 GiB"):
        unpack([_make(kind, tmp_path / "a")], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_zip_that_lies_about_a_size_is_found_out(tmp_path):
    archive = _zip(tmp_path / "a.zip", {"a.jpg": bytes(100_000)})
    data = archive.read_bytes()
    lie = data.replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert lie != data
    archive.write_bytes(lie)
    with pytest.raises(CounterGroundError, match="cut short or corrupt"):
        unpack([archive], tmp_path / "out")
    assert not _there(tmp_path / "out")


def test_a_name_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.jpg", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.jpg", b"2")
    with pytest.raises(CounterGroundError, match="occurs twice"):
        unpack([tmp_path / "a.zip"], tmp_path / "out")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.95])
def test_a_cut_archive_is_one_clear_line(tmp_path, kind, part):
    whole = _make(kind, tmp_path / "a").read_bytes()
    if kind == "w:":
        whole = whole.rstrip(b"\0")
    (tmp_path / "a").write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(CounterGroundError, match="cut short") as caught:
        unpack([tmp_path / "a"], tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["zip", "w:gz", "w:xz"])
def test_a_corrupt_archive_never_gives_a_wrong_photo(tmp_path, kind):
    archive = _make(kind, tmp_path / "a")
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(CounterGroundError, match="cut short or corrupt"):
        unpack([archive], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_litter_of_a_mac_is_left_out(tmp_path):
    litter = {
        "__MACOSX/LAION-final/._1.jpg": b"x",
        "LAION-final/.DS_Store": b"x",
        "LAION-final/._1.jpg": b"x",
    }
    unpack([_zip(tmp_path / "a.zip", CONTENTS | litter)], tmp_path / "out")
    assert _there(tmp_path / "out") == CONTENTS


def test_an_encrypted_zip_is_refused(tmp_path):
    data = bytearray(_zip(tmp_path / "a.zip").read_bytes())
    start = 0
    while (start := data.find(b"PK\x01\x02", start)) >= 0:
        data[start + 8] |= 1
        start += 4
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(CounterGroundError, match=r"is not a regular file"):
        unpack([tmp_path / "a.zip"], tmp_path / "out")


def _header(name: str, kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def _extended(*fields: str, kind: bytes = tarfile.XHDTYPE) -> bytes:
    """An extended header, and a file of one block."""
    record = b""
    for field in fields:
        length = len(field) + 2
        record += f"{length + len(str(length + 2))} {field}\n".encode()
    block = record + bytes(-len(record) % tarfile.BLOCKSIZE)
    return _header("x", kind, len(record)) + block + _header("1.jpg", tarfile.REGTYPE, 512) + b"9" * 512


LONG_NAME = _header("././@LongLink", tarfile.GNUTYPE_LONGNAME, 2) + b"a".ljust(512, b"\0")
HOSTILE_TARS = {
    "a name of gigabytes": _header("././@LongLink", tarfile.GNUTYPE_LONGNAME, 2**33),
    "a header of gigabytes": _header("x", tarfile.XHDTYPE, 2**33),
    "a name of a name of a name": 2000 * LONG_NAME,
    "a size below 0": _extended("size=-1536"),
    "parts that are no numbers": _extended("GNU.sparse.map=a,b"),
    "a size that is no number": _extended("GNU.sparse.size=x"),
    "a number without end": _extended("GNU.sparse.map=0," + "9" * 5000),
    "a list of parts": _extended("GNU.sparse.major=1", "GNU.sparse.minor=0"),
    "a sparse file": _header("1.jpg", tarfile.GNUTYPE_SPARSE, 512) + bytes(512),
    "many fields for all": _extended(*(f"{n}=b" for n in range(102)), kind=tarfile.XGLTYPE),
}


def _unpacked(folder: Path, data: bytes) -> None:
    (folder / "a").write_bytes(gzip.compress(data))
    unpack([folder / "a"], folder / "out")


def _shard(folder: Path, data: bytes) -> None:
    (folder / "a.tar").write_bytes(data)
    read_benchmark(folder / "a.tar")


def _package(folder: Path, data: bytes) -> None:
    packed = gzip.compress(data)
    (folder / "a.deb").write_bytes(
        b"!<arch>\n" + f"{'data.tar.gz':<48}{len(packed):<10}`\n".encode() + packed
    )
    read_deb(folder / "a.deb", ["/b"])


@pytest.mark.parametrize("read", [_unpacked, _shard, _package])
@pytest.mark.parametrize("what", HOSTILE_TARS)
def test_hostile_headers_of_a_tar_are_one_clear_line(tmp_path, read, what):
    data = _header("0.txt", tarfile.REGTYPE, 0) + HOSTILE_TARS[what] + bytes(1024)
    with pytest.raises(CounterGroundError, match=r"cut short|not a complete") as caught:
        read(tmp_path, data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_header_of_many_bytes_is_not_read(tmp_path, kind):
    size = 2**26
    (tmp_path / "a").write_bytes(gzip.compress(_header("x", kind, size) + bytes(size + 1024), 1))
    tracemalloc.start()
    try:
        with pytest.raises(CounterGroundError, match="cut short or corrupt"):
            unpack([tmp_path / "a"], tmp_path / "out")
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
