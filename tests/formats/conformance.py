"""What every format has to do; a format's test subclasses `FormatConformance` and says how a file is made.

The hooks write files by the reference library, never by ckptkit, so that reader and writer cannot be wrong together.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ckptkit import dtypes
from ckptkit.errors import CkptkitError
from ckptkit.formats import open_contents

if TYPE_CHECKING:
    from ckptkit.model import Contents, StoredTensor, TensorSource

Tensors = Mapping[str, np.ndarray]


def counted(shape: Iterable[int], dtype: str = "float32", start: int = 1) -> np.ndarray:
    """An array that counts: no two elements are equal as far as the dtype allows."""
    shape = tuple(shape)
    values = np.arange(start, start + int(np.prod(shape))) % 7 if dtype == "bool" else None
    if values is None:
        values = np.arange(start, start + int(np.prod(shape)))
        if dtypes.itemsize(dtype) == 1:
            values = values % 5
    return values.reshape(shape).astype(dtypes.numpy_dtype(dtype))


def raw(value: np.ndarray) -> bytes:
    """The bytes that ckptkit has to give for `value`."""
    little = np.ascontiguousarray(value)
    return (little.astype(little.dtype.newbyteorder("<")) if little.dtype.byteorder == ">" else little).tobytes()


def whole(source: TensorSource, key: str, pieces: int = 1 << 20) -> bytes:
    """All bytes of a tensor, streamed through a buffer of `pieces` bytes."""
    return b"".join(bytes(piece) for piece in source.stream(key, memoryview(bytearray(pieces))))


def check_message(error: CkptkitError) -> None:
    """An error is one line that says something."""
    assert len(str(error).splitlines()) == 1
    assert len(str(error)) > 10


class FormatConformance:
    """Subclass as `TestX`, set the attributes, define `make`."""

    format: str
    """As `Contents.format` says it."""
    dtypes: tuple[str, ...] = ("float32",)
    """Canonical dtypes that the format can hold."""
    odd_names: tuple[str, ...] = ("ünï/名", "a b", "[bold]x[/bold]", "dot.ted", "tab\there")
    """Names that are legal in the format and trouble elsewhere."""
    strings: bool = False
    """Whether the format holds tensors of strings."""
    checksums: bool = False
    """Whether a flipped bit in a tensor's data has to be found when it is streamed."""

    def make(self, folder: Path, tensors: Tensors) -> str:
        """Write `tensors` by the reference library; returns the path to open."""
        raise NotImplementedError

    def key(self, name: str) -> str:
        """The native key of the tensor that was given to `make` as `name`."""
        return name

    def data_file(self, path: str) -> Path:
        """The file of the checkpoint `path` that holds the tensors' bytes."""
        return Path(path)

    # ------------------------------------------------------------------------------------------------------------ laws

    def _open(self, folder: Path, tensors: Tensors) -> tuple[Contents, TensorSource]:
        return open_contents(self.make(folder, tensors))

    def _by_key(self, contents: Contents) -> dict[str, StoredTensor]:
        found = {tensor.key: tensor for tensor in contents.tensors}
        assert len(found) == len(contents.tensors)
        return found

    def _sample(self) -> dict[str, np.ndarray]:
        return {"first/kernel": counted((3, 4)), "first/bias": counted((4,), start=50), "second": counted((2, 3, 5))}

    def test_lists_without_reading(self, tmp_path: Path) -> None:
        tensors = self._sample()
        contents, source = self._open(tmp_path, tensors)
        source.close()
        listed = self._by_key(contents)
        assert contents.format == self.format
        assert contents.damage == ()
        assert {self.key(name) for name in tensors} <= listed.keys()
        for name, value in tensors.items():
            found = listed[self.key(name)]
            assert (found.shape, found.dtype, found.problem) == (value.shape, "float32", None)
            assert found.nbytes == value.nbytes

    @pytest.mark.parametrize("pieces", [1, 5, 64, 1 << 20])
    def test_streams_in_pieces_of_any_size(self, tmp_path: Path, pieces: int) -> None:
        tensors = self._sample()
        _, source = self._open(tmp_path, tensors)
        for name, value in tensors.items():
            lengths = [len(piece) for piece in source.stream(self.key(name), memoryview(bytearray(pieces)))]
            assert max(lengths) <= pieces
            assert whole(source, self.key(name), pieces) == raw(value)
        source.close()

    def test_reads_every_range(self, tmp_path: Path) -> None:
        value = counted((5, 7))
        _, source = self._open(tmp_path, {"value": value})
        expected = raw(value)
        for start, end in [(0, 140), (0, 1), (139, 140), (3, 11), (60, 60), (1, 139), (140, 140)]:
            buffer = bytearray(end - start)
            source.read_into(self.key("value"), start, memoryview(buffer))
            assert buffer == expected[start:end]
        source.close()

    @pytest.mark.parametrize(("start", "length"), [(139, 2), (141, 1), (0, 141), (1 << 70, 1)])
    def test_refuses_a_range_outside(self, tmp_path: Path, start: int, length: int) -> None:
        _, source = self._open(tmp_path, {"value": counted((5, 7)), "zone": counted((6,))})
        with pytest.raises(CkptkitError):
            source.read_into(self.key("value"), start, memoryview(bytearray(length)))
        source.close()

    def test_refuses_an_unknown_key(self, tmp_path: Path) -> None:
        _, source = self._open(tmp_path, self._sample())
        buffer = memoryview(bytearray(4))
        with pytest.raises(CkptkitError):
            source.read_into("no such key", 0, buffer)
        with pytest.raises(CkptkitError):
            list(source.stream("no such key", buffer))
        with pytest.raises(CkptkitError):
            source.read_strings("no such key")
        source.close()

    def test_every_dtype(self, tmp_path: Path) -> None:
        tensors = {f"of_{dtype}": counted((3, 5), dtype) for dtype in self.dtypes}
        contents, source = self._open(tmp_path, tensors)
        listed = self._by_key(contents)
        for dtype, (name, value) in zip(self.dtypes, tensors.items(), strict=True):
            assert listed[self.key(name)].dtype == dtype
            assert whole(source, self.key(name)) == raw(value), dtype
        source.close()

    def test_scalars_and_empty_tensors(self, tmp_path: Path) -> None:
        tensors = {"scalar": counted((), start=3), "empty": counted((0, 4)), "one": counted((1, 1, 1))}
        contents, source = self._open(tmp_path, tensors)
        listed = self._by_key(contents)
        for name, value in tensors.items():
            assert listed[self.key(name)].shape == value.shape
            assert whole(source, self.key(name)) == raw(value)
            source.read_into(self.key(name), 0, memoryview(bytearray(0)))
        source.close()

    def test_odd_names(self, tmp_path: Path) -> None:
        tensors = {name: counted((number + 2,), start=10 * number) for number, name in enumerate(self.odd_names)}
        contents, source = self._open(tmp_path, tensors)
        assert {self.key(name) for name in tensors} <= self._by_key(contents).keys()
        for name, value in tensors.items():
            assert whole(source, self.key(name)) == raw(value)
        source.close()

    def test_strings(self, tmp_path: Path) -> None:
        if not self.strings:
            pytest.skip("the format holds no strings")
        items = np.array([[b"ab", b""], ["ü".encode(), b"x" * 300]], dtype=object)
        contents, source = self._open(tmp_path, {"words": items, "value": counted((3,))})
        listed = self._by_key(contents)[self.key("words")]
        assert (listed.dtype, listed.shape) == ("string", (2, 2))
        assert source.read_strings(self.key("words")) == items.reshape(-1).tolist()
        with pytest.raises(CkptkitError):
            source.read_strings(self.key("value"))
        source.close()

    def test_closing_twice(self, tmp_path: Path) -> None:
        _, source = self._open(tmp_path, self._sample())
        source.close()
        source.close()

    def test_many_threads_at_once(self, tmp_path: Path) -> None:
        tensors = {f"value_{number}": counted((300 + number, 70), start=number) for number in range(3)}
        _, source = self._open(tmp_path, tensors)
        wrong: list[str] = []

        def work(offset: int) -> None:
            for name, value in tensors.items():
                expected = raw(value)
                for start in range(offset, len(expected) - 4000, 9973):
                    buffer = bytearray(4000)
                    source.read_into(self.key(name), start, memoryview(buffer))
                    if buffer != expected[start : start + 4000]:
                        wrong.append(name)
                if whole(source, self.key(name), 8192) != expected:
                    wrong.append(name)

        threads = [threading.Thread(target=work, args=(offset,)) for offset in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        source.close()
        assert wrong == []

    def test_a_cut_file_never_reads_as_something_else(self, tmp_path: Path) -> None:
        tensors = self._sample()
        path = self.make(tmp_path, tensors)
        file = self.data_file(path)
        data = file.read_bytes()
        found = 0
        for length in {0, 1, 7, 8, 9, 40, len(data) // 3, len(data) // 2, len(data) - 20, len(data) - 1}:
            if 0 <= length < len(data):
                file.write_bytes(data[:length])
                found += self._judge(path, tensors)
        assert found > 0

    def test_flipped_bits_are_found(self, tmp_path: Path) -> None:
        if not self.checksums:
            pytest.skip("the format has no checksums")
        tensors = self._sample()
        path = self.make(tmp_path, tensors)
        file = self.data_file(path)
        data = file.read_bytes()
        for value in tensors.values():
            at = data.index(raw(value))
            for place in (at, at + value.nbytes // 2, at + value.nbytes - 1):
                file.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
                assert self._judge(path, tensors) == 1

    def _judge(self, path: str, tensors: Tensors) -> int:
        """1 when opening or reading was refused; fails where other bytes than the right ones came without an error."""
        try:
            contents, source = open_contents(path)
        except CkptkitError as error:
            check_message(error)
            return 1
        refused = 0
        listed = self._by_key(contents)
        for name, value in tensors.items():
            try:
                assert whole(source, self.key(name)) == raw(value)
                assert listed[self.key(name)].shape == value.shape
            except CkptkitError as error:
                check_message(error)
                refused = 1
        source.close()
        return refused

    @pytest.mark.parametrize("content", [b"", b"\0", b"not a checkpoint", b"\0" * 5000, b"\xff" * 5000])
    def test_refuses_what_is_something_else(self, tmp_path: Path, content: bytes) -> None:
        path = self.make(tmp_path, self._sample())
        self.data_file(path).write_bytes(content)
        assert self._judge(path, self._sample()) == 1
