"""The zip directory: what `zipfile` writes is read; what contradicts itself is refused."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING

import pytest

from ckptkit.errors import ChecksumError, CkptkitError, FormatError, LimitError, UnsupportedError
from ckptkit.formats.zip.members import DEFLATED, STORED, check_member, is_zip, members, open_member, stream_member
from ckptkit.storage.address import address
from ckptkit.storage.bytes import read
from ckptkit.storage.local import LocalStorage

if TYPE_CHECKING:
    from pathlib import Path

_CENTRAL = b"PK\x01\x02"
_LOCAL = b"PK\x03\x04"


def _archive(*entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytearray:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=method)
    return bytearray(out.getvalue())


@pytest.fixture
def store(tmp_path: Path) -> object:
    """Writes bytes to a file and opens it."""
    opened: list[LocalStorage] = []

    def make(data: bytes | bytearray) -> LocalStorage:
        path = tmp_path / f"{len(opened)}.zip"
        path.write_bytes(data)
        opened.append(address(path).open())  # type: ignore[arg-type]
        return opened[-1]

    yield make
    for storage in opened:
        storage.close()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_reads_what_zipfile_writes(store, method: int) -> None:
    entries = [("a/b.txt", b"hello" * 1000), ("ünï.bin", bytes(range(256)) * 40_000), ("empty", b"")]
    storage = store(_archive(*entries, method=method))
    assert is_zip(storage)
    found = members(storage)
    assert list(found) == [name for name, _ in entries]
    for name, data in entries:
        assert found[name].method == (STORED if method == zipfile.ZIP_STORED else DEFLATED)
        opened = open_member(storage, found[name], 1 << 30)
        assert (opened.size, bytes(read(opened, 0, opened.size))) == (len(data), data)
        if len(data) > 10:
            assert bytes(read(opened, 3, 5)) == data[3:8]
            with pytest.raises(FormatError):
                read(opened, len(data) - 1, 2)
        opened.close()
        opened.close()
        check_member(storage, found[name])


def test_inflated_members_leave_no_file(store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    storage = store(_archive(("big", bytes(12 << 20))))
    before = sorted(tmp_path.iterdir())
    opened = open_member(storage, members(storage)["big"], 1 << 30)
    assert sorted(tmp_path.iterdir()) == before
    assert bytes(read(opened, (12 << 20) - 9, 9)) == bytes(9)
    opened.close()


def test_streamed_and_large_archives(store) -> None:
    """Members whose sizes follow them, and zip64 fields that are not needed."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: object) -> int:
            raise io.UnsupportedOperation

    out = Pipe()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("large", "w", force_zip64=True) as file:
            file.write(b"x" * 100_000)
        archive.writestr("small", b"y")
    storage = store(out.getvalue())
    found = members(storage)
    assert {name: member.size for name, member in found.items()} == {"large": 100_000, "small": 1}
    check_member(storage, found["large"])


def test_zip64_end_record(store) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(65_600):
            archive.writestr(zipfile.ZipInfo(str(number)), b"")
    assert len(members(store(out.getvalue()))) == 65_600


def test_folders_are_left_out_and_comments_kept(store) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.comment = b"of the archive"
        archive.writestr(zipfile.ZipInfo("folder/"), b"")
        info = zipfile.ZipInfo("folder/file")
        info.comment = b"of the member"
        archive.writestr(info, b"data")
    found = members(store(out.getvalue()))
    assert {name: member.comment for name, member in found.items()} == {"folder/file": b"of the member"}


def test_an_empty_archive(store) -> None:
    assert members(store(_archive())) == {}


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../b", "..", "\\x", "a\\..\\b", "C:\\x", "c:x"])
def test_names_that_lead_out(store, name: str) -> None:
    data = _archive(("x" * len(name.encode()), b"1"))
    data = data.replace(b"x" * len(name.encode()), name.encode())
    with pytest.raises(FormatError, match="leads out"):
        members(store(data))
    assert list(members(store(data), paths=False)) == [name]


def test_two_members_of_one_name(store) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        data = _archive(("a", b"1"), ("a", b"2"))
    with pytest.raises(FormatError, match="two members"):
        members(store(data))


def test_a_symbolic_link(store) -> None:
    info = zipfile.ZipInfo("link")
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(info, b"/etc/passwd")
    with pytest.raises(FormatError, match="symbolic link"):
        members(store(out.getvalue()))


def _set(data: bytearray, signature: bytes, offset: int, form: str, value: int) -> bytearray:
    """`data` with a field of its first structure of that signature replaced."""
    struct.pack_into(form, data, data.index(signature) + offset, value)
    return data


# Which field, and what must not be there. Offsets: APPNOTE 4.3.12 (central), 4.3.7 (local), 4.3.16 (end).
CONTRADICTIONS = {
    "encrypted": (_CENTRAL, 8, "<H", 1),
    "encrypted only in the local header": (_LOCAL, 6, "<H", 1),
    "strong encryption": (_CENTRAL, 8, "<H", 0x40),
    "patched": (_CENTRAL, 8, "<H", 0x20),
    "on another disk": (_CENTRAL, 34, "<H", 3),
    "other method than locally": (_CENTRAL, 10, "<H", 0),
    "other method in the member": (_LOCAL, 8, "<H", 0),
    "other checksum than locally": (_CENTRAL, 16, "<L", 1),
    "more compressed bytes than the file": (_CENTRAL, 20, "<L", 1 << 30),
    "fewer compressed bytes than locally": (_CENTRAL, 20, "<L", 3),
    "more bytes than deflate can give": (_CENTRAL, 24, "<L", 1 << 30),
    "zip64 without its field": (_CENTRAL, 24, "<L", 0xFFFFFFFF),
    "begins beyond the directory": (_CENTRAL, 42, "<L", 1 << 30),
    "begins inside another": (_CENTRAL, 42, "<L", 1),
    "a longer name than the directory": (_CENTRAL, 28, "<H", 60_000),
    "a shorter name": (_CENTRAL, 28, "<H", 1),
    "a longer local name": (_LOCAL, 26, "<H", 40_000),
    "longer local extra data": (_LOCAL, 28, "<H", 60_000),
    "not a directory entry": (_CENTRAL, 0, "<L", 0),
    "no members": (b"PK\x05\x06", 10, "<H", 0),
    "more members": (b"PK\x05\x06", 10, "<H", 9),
    "a larger directory": (b"PK\x05\x06", 12, "<L", 1 << 20),
    "a smaller directory": (b"PK\x05\x06", 12, "<L", 10),
    "a directory elsewhere": (b"PK\x05\x06", 16, "<L", 0),
    "a longer comment": (b"PK\x05\x06", 20, "<H", 7),
}


@pytest.mark.parametrize("kind", CONTRADICTIONS)
def test_contradictions(store, kind: str) -> None:
    data = _set(_archive(("member", b"hello" * 50), ("second", b"there")), *CONTRADICTIONS[kind])
    with pytest.raises(CkptkitError) as caught:
        members(store(data))
    assert len(str(caught.value).splitlines()) == 1


def test_shared_bytes(store) -> None:
    """A member inside another one's data: the quoted overlap of https://www.bamsoftware.com/hacks/zipbomb/."""
    inner = bytes(_archive(("inner", b"y" * 500), method=zipfile.ZIP_STORED))
    outer = bytes(_archive(("outer", inner[: inner.index(_CENTRAL)]), method=zipfile.ZIP_STORED))
    start = outer.index(_CENTRAL)
    entry = bytearray(inner[inner.index(_CENTRAL) : inner.index(b"PK\x05\x06")])
    struct.pack_into("<L", entry, 42, outer.index(_LOCAL, 1))
    end = bytearray(outer[outer.index(b"PK\x05\x06") :])
    directory = outer[start : outer.index(b"PK\x05\x06")] + bytes(entry)
    struct.pack_into("<HHL", end, 8, 2, 2, len(directory))
    with zipfile.ZipFile(io.BytesIO(outer[:start] + directory + end)) as archive:
        assert archive.namelist() == ["outer", "inner"]
    with pytest.raises(FormatError, match="shares bytes"):
        members(store(outer[:start] + directory + end))


def test_bytes_before_the_archive_are_refused(store) -> None:
    """`zipfile` shifts all offsets then, other readers do not."""
    with pytest.raises(FormatError, match="not where the archive says"):
        members(store(b"x" * 100 + bytes(_archive(("a", b"1")))))


def test_bytes_after_the_archive_are_refused(store) -> None:
    with pytest.raises(FormatError, match="end is missing"):
        members(store(bytes(_archive(("a", b"1"))) + b"x" * 100))


@pytest.mark.parametrize("size", [499, 501])
def test_a_member_that_inflates_to_another_size(store, size: int) -> None:
    data = _archive(("a", b"x" * 500))
    _set(_set(data, _CENTRAL, 24, "<L", size), _LOCAL, 22, "<L", size)
    storage = store(data)
    with pytest.raises(FormatError, match="does not inflate"):
        check_member(storage, members(storage)["a"])


def test_a_member_whose_checksum_is_wrong(store) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        data = _archive(("a", b"x" * 500), method=method)
        _set(_set(data, _CENTRAL, 16, "<L", 1), _LOCAL, 14, "<L", 1)
        storage = store(data)
        with pytest.raises(ChecksumError):
            check_member(storage, members(storage)["a"])


def test_a_member_with_more_or_damaged_compressed_data(store) -> None:
    content = b"some text that is deflated, and other text"
    packed = zlib.compress(content)[2:-4]
    for changed in (packed + b"junk", packed[:-2], b"\xff" * len(packed)):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr(zipfile.ZipInfo("a"), changed)
        data = bytearray(out.getvalue())
        crc = zlib.crc32(content)
        for signature, method, checksum, size in ((_CENTRAL, 10, 16, 24), (_LOCAL, 8, 14, 22)):
            _set(data, signature, method, "<H", DEFLATED)
            _set(data, signature, checksum, "<L", crc)
            _set(data, signature, size, "<L", len(content))
        storage = store(data)
        with pytest.raises(FormatError):
            check_member(storage, members(storage)["a"])


def test_a_method_that_is_not_read(store) -> None:
    storage = store(_archive(("a", b"x" * 500), method=zipfile.ZIP_BZIP2))
    with pytest.raises(UnsupportedError, match="method"):
        next(stream_member(storage, members(storage)["a"]))


def test_a_bomb_is_judged_on_what_it_declares(store, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = store(_archive(("a", bytes(1 << 20))))
    monkeypatch.setattr("zlib.decompressobj", lambda *_: pytest.fail("inflated"))
    with pytest.raises(LimitError):
        open_member(storage, members(storage)["a"], 1000)


@pytest.mark.parametrize("cut", [1, 2, 21, 22, 30, 100, 150])
def test_cut_archives(store, cut: int) -> None:
    with pytest.raises(FormatError):
        members(store(_archive(("a", b"1" * 50), ("b", b"2" * 50))[:-cut]))
