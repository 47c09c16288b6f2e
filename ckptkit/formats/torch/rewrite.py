"""A copy of a file of `torch.save` in which some storages hold other numbers: its pickle stays as it is, byte by byte.

So optimizers, counters, settings and whatever else lies beside the weights are kept without being understood.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from ckptkit import dtypes
from ckptkit.errors import LimitError, NotFoundError, RefusedError, UnsupportedError, WriteError
from ckptkit.formats.torch.reader import Read, read_views
from ckptkit.formats.torch.source import Held, View, canonical_pieces
from ckptkit.formats.zip.members import is_zip, members, stream_member
from ckptkit.formats.zip.writing import archive, member
from ckptkit.model import WRITE_BYTES
from ckptkit.storage.bytes import read
from ckptkit.storage.scratch import hold
from ckptkit.storage.writing import writing

if TYPE_CHECKING:
    import numpy as np

    from ckptkit.model import TensorSource, TensorSpec
    from ckptkit.storage.address import Address
    from ckptkit.storage.bytes import Storage

_ALIGNMENT = 64
# A storage that several tensors share, or that one has in another order, is put together in memory.
_LARGEST_SHARED = 1 << 30


def rewrite(path: str, template: Address, tensors: Mapping[str, TensorSpec], source: TensorSource) -> None:
    """Write a copy of `template` to `path` in which `tensors` come from `source`.

    Args:
        path: the new file.
        template: an existing file of `torch.save`, a zip archive or a stream.
        tensors: what takes the place of the template's tensor of that key; of its shape and dtype.
        source: answers for the keys of `tensors`.

    Raises:
        NotFoundError: the template has no tensor of a key.
        UnsupportedError: a tensor lies inside of the pickle, or the template is a tar archive.
        RefusedError: tensors that share numbers in the template would get different ones.
    """
    storage = template.open()
    with closing(storage):
        found = read_views(storage)
        if found.opened.kind == "tar archive":
            raise UnsupportedError(
                "a tar archive of an early PyTorch is not written", path=template, hint="`ckptkit convert` it first"
            )
        _check(template, found, tensors)
        changed = _Changed(path, found, tensors, source)
        if is_zip(storage):
            _rewrite_archive(path, storage, changed)
        else:
            _rewrite_stream(path, storage, found, changed)


def _check(template: Address, found: Read, tensors: Mapping[str, TensorSpec]) -> None:
    for key, spec in tensors.items():
        view = found.views.get(key)
        if view is None:
            raise NotFoundError("the template has no such tensor", path=template, key=key)
        if view.held is None or view.problem is not None or not view.held.place:
            raise UnsupportedError(
                "a tensor of the template that is not written", path=template, key=key,
                found=view.problem or "inside of the pickle",
            )  # fmt: skip
        if (view.tensor.shape, view.tensor.dtype) != (spec.shape, spec.dtype):
            raise UnsupportedError(
                "a tensor takes the template's place in its own shape and type only", path=template, key=key,
                expected=f"{list(view.tensor.shape)} {view.tensor.dtype}", found=f"{list(spec.shape)} {spec.dtype}",
            )  # fmt: skip


def _rewrite_archive(path: str, storage: Storage, changed: _Changed) -> None:
    with archive(path) as opened:
        for name, old in members(storage).items():
            pieces: Iterable[bytes | memoryview] = stream_member(storage, old)
            if name in changed.places:
                pieces = changed.pieces(name)
            with member(opened, name, old.method, old.size, old.comment, align=_ALIGNMENT) as file:
                for piece in pieces:
                    file.write(piece)


def _rewrite_stream(path: str, storage: Storage, found: Read, changed: _Changed) -> None:
    """The pickles as they are, then each storage with its length before it."""
    held = list(found.opened.storages.values())
    total = sum(8 + each.storage.size for each in held)
    begin = storage.size - total
    at = begin
    with writing(path), Path(path).open("wb") as file:
        file.writelines(storage.stream(0, begin, memoryview(bytearray(WRITE_BYTES))))
        for each in held:
            file.write(read(storage, at, 8))
            size = each.storage.size
            old = storage.stream(at + 8, size, memoryview(bytearray(WRITE_BYTES)))
            file.writelines(changed.pieces(each.place) if each.place in changed.places else old)
            at += 8 + size


class _Changed:
    """The storages that get other numbers.

    Attributes:
        places: their names.
    """

    def __init__(self, path: str, found: Read, tensors: Mapping[str, TensorSpec], source: TensorSource) -> None:
        self._path = path
        self._source = source
        self._tensors = tensors
        self._views: dict[str, dict[str, View]] = {}
        self._held: dict[str, Held] = {}
        for key, view in found.views.items():
            if view.held is not None and view.held.place:
                self._views.setdefault(view.held.place, {})[key] = view
                self._held[view.held.place] = view.held
        self.places = frozenset(place for place, views in self._views.items() if not tensors.keys().isdisjoint(views))

    def pieces(self, place: str) -> Iterator[bytes | memoryview]:
        """The new bytes of a storage, in order."""
        views = self._views[place]
        if all(view.whole for view in views.values()) and views.keys() <= self._tensors.keys():
            yield from self._together(place, list(views))
        else:
            yield self._composed(place, views)

    def _together(self, place: str, keys: list[str]) -> Iterator[memoryview]:
        """The bytes of a tensor that is all of its storage; others that are it, too, have to have the same."""
        streams = [self._source.stream(key, memoryview(bytearray(WRITE_BYTES))) for key in keys]
        done = 0
        for pieces in zip(*streams, strict=True):
            for key, piece in zip(keys[1:], pieces[1:], strict=True):
                if piece != pieces[0]:
                    raise self._conflict(keys[0], key)
            done += len(pieces[0])
            yield pieces[0]
        if done != self._held[place].storage.size:
            raise WriteError("a tensor has another size than it should", path=self._path, key=keys[0], found=done)

    def _composed(self, place: str, views: Mapping[str, View]) -> bytes:
        """A storage's old bytes with new elements in the places of those tensors that get some."""
        held = self._held[place]
        size = held.storage.size
        if size > _LARGEST_SHARED:
            raise LimitError(
                "a storage that tensors share, or have in another order, is too large to be put together in memory",
                path=self._path, key=next(iter(views)), expected=f"at most {_LARGEST_SHARED} bytes", found=size,
            )  # fmt: skip
        new = read(held.storage, 0, size)
        for key, view in views.items():
            if key in self._tensors:
                _elements(view, new)[...] = _as_stored(view, self._value(key, view), swapped=held.swapped)
        composed = bytes(new)
        inner = hold(self._path, size, [composed])
        with closing(inner):
            first = next(key for key in views if key in self._tensors)
            for key, view in views.items():
                now = canonical_pieces(view, Held(inner, held.swapped))
                before = canonical_pieces(view, held)
                wanted = [self._value(key, view).tobytes()] if key in self._tensors else before
                if b"".join(now) != b"".join(wanted):
                    other = first if key != first else next((name for name in views if name != key), key)
                    raise self._conflict(other, key)
        return composed

    def _value(self, key: str, view: View) -> np.ndarray:
        """A new tensor whole, as it is handed over."""
        import numpy as np

        raw = b"".join(bytes(piece) for piece in self._source.stream(key, memoryview(bytearray(WRITE_BYTES))))
        if len(raw) != view.nbytes:
            raise WriteError("a tensor has another size than it should", path=self._path, key=key, found=len(raw))
        return np.frombuffer(raw, dtypes.numpy_dtype(view.tensor.dtype)).reshape(view.tensor.shape)

    def _conflict(self, key: str, other: str) -> RefusedError:
        return RefusedError(
            f"{other} shares its numbers with {key} in the template and would get others", path=self._path, key=other,
            hint="Take a template whose tensors are saved apart: {name: value.clone() …}",
        )  # fmt: skip


def _elements(view: View, storage: bytearray) -> np.ndarray:
    """The places of a tensor's elements in the bytes of its storage, to be written to."""
    import numpy as np

    tensor = view.tensor
    items = np.frombuffer(storage, f"V{dtypes.itemsize(tensor.dtype)}")
    steps = [stride * items.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(items[tensor.offset :], tensor.shape, steps)


def _as_stored(view: View, value: np.ndarray, *, swapped: bool) -> np.ndarray:
    """Elements as they lie in the storage: what `canonical_pieces` does, taken back."""
    import numpy as np

    value = np.negative(value) if view.tensor.neg else value
    value = np.conjugate(value) if view.tensor.conj else value
    unit = value.itemsize // 2 if value.dtype.kind == "c" else value.itemsize
    raw = np.ascontiguousarray(value).reshape(-1).view(f"u{unit}")
    return (raw.byteswap() if swapped else raw).view(f"V{value.itemsize}").reshape(value.shape)
