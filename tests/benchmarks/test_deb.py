from __future__ import annotations

import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rcc import read_rcc, write_rcc

from counterground.benchmarks import _packages as _deb  # a limit is lowered
from counterground.benchmarks import open_packages

# Damaged packages, byte by byte, without apt.
from counterground.benchmarks._packages import read_deb
from counterground.errors import CounterGroundError


@pytest.mark.parametrize("compression", [".xz", ".gz", ".bz2", ""])
def test_reads_wanted_files_of_any_compression(tmp_path, make_deb, compression):
    content = os.urandom(100_001)
    deb = make_deb(tmp_path / "a_1_all.deb", [("./usr/a.png", content), ("./usr/b.png", b"b")], compression)
    assert read_deb(deb, ["/usr/a.png", "/usr/absent.png"]) == {"/usr/a.png": content}


def test_links_and_climbing_names_are_never_followed(tmp_path, make_deb):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    link = tarfile.TarInfo("./usr/link.png")
    link.type, link.linkname = tarfile.SYMTYPE, str(secret)
    hard = tarfile.TarInfo("./usr/hard.png")
    hard.type, hard.linkname = tarfile.LNKTYPE, "./usr/a.png"
    deb = make_deb(tmp_path / "a_1_all.deb", [("./usr/a.png", b"a"), ("../../escaped", b"x"), link, hard])
    assert read_deb(deb, ["/usr/link.png", "/usr/hard.png", "/usr/a.png"]) == {"/usr/a.png": b"a"}
    assert not list(tmp_path.parent.rglob("escaped"))


def test_a_file_too_large_for_a_photograph_is_refused(tmp_path, make_deb, monkeypatch):
    monkeypatch.setattr(_deb, "MAX_MEMBER_BYTES", 10)
    deb = make_deb(tmp_path / "a_1_all.deb", [("./a", b"a" * 11)])
    with pytest.raises(CounterGroundError, match="more than any photograph"):
        read_deb(deb, ["/a"])


@pytest.mark.parametrize("keep", [0, 5, 70, 200, 0.5, 0.99])
def test_a_deb_cut_short_is_one_clear_line(tmp_path, make_deb, keep):
    deb = make_deb(tmp_path / "a_1_all.deb", [("./a", os.urandom(50_000)), ("./b", b"b")])
    whole = deb.read_bytes()
    deb.write_bytes(whole[: keep if isinstance(keep, int) else int(len(whole) * keep)])
    with pytest.raises(CounterGroundError, match=r"a_1_all\.deb is not a complete Debian package") as caught:
        read_deb(deb, ["/a", "/b"])
    assert "\n" not in str(caught.value)


def test_a_flipped_byte_is_found(tmp_path, make_deb):
    deb = make_deb(tmp_path / "a_1_all.deb", [("./a", os.urandom(50_000)), ("./b", b"b")])
    whole = bytearray(deb.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    deb.write_bytes(whole)
    with pytest.raises(CounterGroundError, match="not a complete Debian package"):
        read_deb(deb, ["/a", "/b"])


ENTRIES = {"/a/sea.webp": b"sea", "/a/b/sky.webp": bytes(1000), "/c.txt": b""}


class TestQtResources:
    def test_entries_are_read_as_another_reader_reads_them(self, tmp_path, make_deb):
        rcc = write_rcc(ENTRIES)
        (tmp_path / "a.rcc").write_bytes(rcc)
        assert read_rcc(tmp_path / "a.rcc") == {name[1:]: content for name, content in ENTRIES.items()}
        deb = make_deb(tmp_path / "a_1_all.deb", [("./x.rcc", rcc)])
        wanted = {f"/x.rcc!{name}": content for name, content in ENTRIES.items()}
        assert read_deb(deb, [*wanted, "/y.rcc!/a"]) == wanted

    @pytest.mark.parametrize("entry", ["/a/no.webp", "/a", "/a/sea.webp/x", "/c.tx"])
    def test_an_entry_that_is_not_there_is_named(self, tmp_path, make_deb, entry):
        deb = make_deb(tmp_path / "a_1_all.deb", [("./x.rcc", write_rcc(ENTRIES))])
        with pytest.raises(CounterGroundError, match=f"a_1_all.deb .*no uncompressed entry {entry}"):
            read_deb(deb, [f"/x.rcc!{entry}"])

    @pytest.mark.parametrize("keep", [0, 3, 21, 40, 70])
    def test_a_file_cut_short_is_one_clear_line(self, tmp_path, make_deb, keep):
        deb = make_deb(tmp_path / "a_1_all.deb", [("./x.rcc", write_rcc(ENTRIES)[:keep])])
        with pytest.raises(CounterGroundError, match=r"a_1_all\.deb is not a complete Debian package"):
            read_deb(deb, ["/x.rcc!/a/sea.webp"])


class TestBroughtPackages:
    def test_opens_and_remembers_them(self, tmp_path, make_deb, cache):
        make_deb(tmp_path / "debs/pack_2%3a1.0_all.deb", [("./usr/a", b"a")])
        package = open_packages({"pack": ["/usr/a"]}, tmp_path / "debs")["pack"]
        assert package.version == "2:1.0"
        assert package.file("/usr/a").read_bytes() == b"a"
        assert open_packages({"pack": ["/usr/a"]})["pack"] == package
        assert not [path for path in cache.rglob("*") if path.name.startswith(".")]

    def test_another_release_without_the_file_is_said(self, tmp_path, make_deb):
        make_deb(tmp_path / "pack_1_all.deb", [("./usr/b", b"b")])
        with pytest.raises(CounterGroundError, match=r"does not hold /usr/a; .*Debian 13"):
            open_packages({"pack": ["/usr/a"]}, tmp_path)

    def test_corrupt_package_leaves_nothing_behind(self, tmp_path, cache):
        (tmp_path / "pack_1_all.deb").write_bytes(b"<html>not found</html>")
        with pytest.raises(CounterGroundError, match="not a complete Debian package"):
            open_packages({"pack": ["/usr/a"]}, tmp_path)
        assert not list(cache.rglob("package.json"))

    @pytest.mark.parametrize(
        ("make", "said"), [(Path.mkdir, "Is a directory"), (os.mkfifo, "not a regular file")]
    )
    def test_something_else_in_the_place_of_a_package(self, tmp_path, make, said):
        make(tmp_path / "pack_1_all.deb")
        with pytest.raises(CounterGroundError, match=rf"pack_1_all\.deb: {said}"):
            open_packages({"pack": ["/usr/a"]}, tmp_path)

    def test_a_second_version_stands_beside_the_first(self, tmp_path, make_deb):
        for version in "12":
            make_deb(tmp_path / version / f"pack_{version}_all.deb", [("./usr/a", version.encode())])
        for version in "121":
            opened = open_packages({"pack": ["/usr/a"]}, tmp_path / version)["pack"]
            assert opened.file("/usr/a").read_bytes() == version.encode()


@pytest.fixture
def programs(tmp_path, monkeypatch) -> Path:
    """A PATH of one folder, where a test puts its own apt."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
    path.chmod(0o755)


class TestApt:
    def test_the_deb_is_not_kept(self, tmp_path, make_deb, cache, programs):
        deb = make_deb(tmp_path / "pack_1_all.deb", [("./usr/a", b"a")])
        _program(programs / "apt-get", f"cp {deb} .")
        package = open_packages({"pack": ["/usr/a"]})["pack"]
        assert not list(cache.rglob("*.deb"))
        (programs / "apt-get").unlink()
        assert open_packages({"pack": ["/usr/a"]})["pack"] == package

    def test_missing_lists_are_fetched_once(self, tmp_path, make_deb, programs, monkeypatch):
        monkeypatch.setattr(os, "geteuid", lambda: 0)  # only root may fetch apt's lists
        deb = make_deb(tmp_path / "pack_1_all.deb", [("./usr/a", b"a")])
        marker = tmp_path / "updated"
        _program(
            programs / "apt-get",
            f'if [ "$1" = update ]; then echo >> {marker}; exit; fi\n[ -e {marker} ] && cp {deb} .',
        )
        assert open_packages({"pack": ["/usr/a"]})["pack"].version == "1"
        assert marker.read_text() == "\n"

    def test_several_at_once_with_an_empty_cache(self, tmp_path, make_deb, programs):
        deb = make_deb(tmp_path / "pack_1_all.deb", [("./usr/a", b"a")])
        _program(programs / "apt-get", f"cp {deb} .")
        with ThreadPoolExecutor(8) as pool:
            jobs = [pool.submit(open_packages, {"pack": ["/usr/a"]}) for _ in range(8)]
        assert {job.result()["pack"].file("/usr/a").read_bytes() for job in jobs} == {b"a"}
