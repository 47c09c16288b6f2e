"""Every format in every list; and one that is added is found by every command, with nothing else touched."""

from __future__ import annotations

import inspect
import os
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ckptkit
from ckptkit.errors import UnsupportedError, UsageError
from ckptkit.formats import registry
from ckptkit.formats.copying import local_copy
from ckptkit.formats.locate import locate
from ckptkit.formats.naming import output_address, target_format
from ckptkit.formats.registry import FORMATS, Format, Magic
from tests.cli.driver import run_all
from tests.conftest import FIXTURES, ROOT

TOY = Format("toy", "a toy", "tests.formats.toy", (Magic(0, b"TOY1"),), (".toy",))
INDEX = (ROOT / "docs" / "formats" / "index.md").read_text()


@pytest.mark.parametrize("row", FORMATS, ids=lambda row: row.name)
class TestEveryFormat:
    def test_its_package_offers_what_it_should(self, row: Format) -> None:
        reader = row.reader()
        assert list(inspect.signature(reader.open).parameters) == list(inspect.signature(reader.files).parameters)
        if row.writes != "no":
            arguments = list(inspect.signature(row.writer().outline_like).parameters)
            assert arguments == ["template", "tensors", "final", "workers"]
        if row.writes == "new":
            arguments = list(inspect.signature(row.writer().outline_new).parameters)
            assert arguments == ["format", "contents", "final", "workers"]

    def test_an_output_is_named_by_its_ending_in_any_case(self, row: Format) -> None:
        for ending in row.endings:
            for name in (f"a{ending}", f"A{ending.upper()}", f"b.{ending}"):
                if row.writes == "new":
                    assert target_format(name, None) == row.name
                    assert output_address(row.name, name).text == name
                else:
                    with pytest.raises(UnsupportedError, match="needs"):
                        target_format(name, None)

    def test_it_can_be_asked_for_or_it_is_said_why_not(self, row: Format) -> None:
        if row.writes == "new":
            assert target_format("x.anything", row.name) == row.name
        else:
            with pytest.raises((UnsupportedError, UsageError), match=r"needs|no such format"):
                target_format("x", row.name)

    def test_it_has_a_title_and_stands_in_the_documentation(self, row: Format) -> None:
        assert row.title
        assert row.name in INDEX

    def test_git_is_told_of_its_files(self, row: Format) -> None:
        names = [f"x{ending}" for ending in row.endings] if row.made_of == registry.FILE else []
        names += [f"x{row.made_of.index}"] if row.made_of.index else []
        for name in names:
            assert any(fnmatch(name, pattern) for pattern in registry.binary_patterns())

    def test_a_fixture_is_found_as_it(self, row: Format) -> None:
        found = []
        for folder in FIXTURES.iterdir():
            for path in folder.iterdir() if folder.is_dir() else ():
                try:
                    opened = ckptkit.open(path)
                except ckptkit.CkptkitError:
                    continue
                with opened as checkpoint:
                    found.append(checkpoint.format)
                    if checkpoint.format == row.name:
                        assert checkpoint.location is not None
                        assert checkpoint.location.format.module == row.module
                        return
        pytest.fail(f"no fixture is {row.name}, of {sorted(set(found))}")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("x.ckpt.index", "x.ckpt"), ("x.data-00000-of-00001", "x"), ("x", "x"), ("model.ckpt-1.5", "model.ckpt-1.5")],
)
def test_a_file_of_a_bundle_means_the_bundle(name: str, wanted: str) -> None:
    assert target_format(name, None) == registry.BUNDLE
    assert output_address(registry.BUNDLE, name).text == wanted


@pytest.mark.parametrize("name", ["x.pkl", "x.GGUF", "x.meta", "x.onnx", "x.pb", "x.tar.gz", "a/b.pkl"])
def test_the_ending_of_something_else_is_no_prefix(name: str) -> None:
    with pytest.raises(UsageError, match="not that of a format"):
        target_format(name, None)
    assert target_format(name, registry.BUNDLE) == registry.BUNDLE


def add_toy() -> None:
    """Put the toy among the formats."""
    registry.FORMATS = (*FORMATS, TOY)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder, with the toy among the formats, in which one is."""
    monkeypatch.setattr(registry, "FORMATS", (*FORMATS, TOY))
    one = {"dense/kernel": np.arange(6, dtype="f4").reshape(2, 3), "dense/bias": np.ones(3, "f4")}
    np.savez(tmp_path / "a.npz", **one)
    np.savez(tmp_path / "d.npz", **{key: 2 * value for key, value in one.items()})
    ckptkit.convert(tmp_path / "a.npz", tmp_path / "a-1.toy")
    return tmp_path


def test_a_new_format_is_in_every_list(toy: Path) -> None:
    assert "toy" in registry.writable()
    assert "*.toy" in registry.binary_patterns()
    assert target_format("x.toy", None) == target_format("x", "toy") == "toy"


def test_a_new_format_works_in_every_command(toy: Path) -> None:
    a, b = toy / "a-1.toy", toy / "a-2.toy"
    wanted = [
        (0, "a toy", ["inspect", a, "--stats", "--hash"]),
        (0, "", ["convert", a, "-o", toy / "b.h5"]),
        (0, "as toy", ["convert", toy / "b.h5", "-o", toy / "c", "--to", "toy"]),
        (0, "2 of 2", ["remap", toy / "d.npz", "--like", a, "-o", b]),
        (0, "IDENTICAL", ["diff", b, toy / "d.npz"]),
        (1, "", ["diff", a, b]),
        (0, "a-1.toy", ["drift", toy, "--json"]),
        (0, "dense/kernel", ["git", "textconv", a]),
        (2, "", ["convert", a, "-o", toy / "x.keras"]),
        (2, "", ["convert", a, "-o", b]),  # it exists
        (0, "toy", ["convert", "--help"]),
    ]
    done = run_all([words for _, _, words in wanted], before="tests.formats.test_registry:add_toy")
    for (code, text, words), (found, out, err) in zip(wanted, done, strict=True):
        assert found == code, (words, out, err)
        assert text in out.replace("\n", " "), (words, out)
    assert (toy / "c").read_bytes().startswith(b"TOY1")


def test_a_new_format_is_copied_from_a_store(toy: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory: Any = fsspec.filesystem("memory")
    memory.pipe_file("/toys/x.toy", (toy / "a-1.toy").read_bytes())
    with local_copy("memory://toys/x.toy") as found:
        assert os.path.isfile(found.at.text)
        assert found.format.name == "toy"
    assert locate("memory://toys/x.toy").version() != locate(toy / "a-1.toy").version()
    memory.rm("/toys", recursive=True)
