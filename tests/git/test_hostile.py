"""No file keeps `git diff` from showing the others."""

from __future__ import annotations

import io
from pathlib import Path

from ckptkit.api.listing import Listing, read_listing
from ckptkit.report import listing as report


def text_of(path: Path) -> str:
    stream = io.StringIO()
    found = read_listing(str(path))
    if isinstance(found, Listing):
        report.write_listing(found, stream)
    else:
        report.write_unlisted(found, stream)
    return stream.getvalue()


def test_every_malformed_file_has_a_text_without_control_characters(hostile_dir: Path) -> None:
    files = [path for path in sorted(hostile_dir.rglob("*")) if path.is_file() and not path.is_symlink()]
    assert len(files) > 50
    for path in files:
        text = text_of(path)
        assert text, path
        assert not any(ord(letter) < 32 and letter not in "\n\t" for letter in text), path
        assert str(hostile_dir) not in text, path


def test_equal_files_have_equal_texts_under_any_name(corpus: Path, tmp_path: Path) -> None:
    """Of real files of every format: git calls each version otherwise and puts it where nothing else is."""
    endings = (".h5", ".hdf5", ".keras", ".index", ".safetensors", ".npz")
    files = [path for path in sorted(corpus.rglob("*")) if path.suffix in endings and path.stat().st_size < 4 << 20]
    assert len(files) > 30
    for number, path in enumerate(files):
        copy = tmp_path / f"{number}_x{path.suffix}"
        copy.write_bytes(path.read_bytes())
        text = text_of(path)
        assert text == text_of(copy), path
        assert not text.startswith("unreadable") or "neg-" in str(path), path
        copy.unlink()
