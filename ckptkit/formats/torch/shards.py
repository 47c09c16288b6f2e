"""Several files of `torch.save` as one source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ckptkit.model import TensorSource


class Shards:
    """Hands every tensor through from the file that holds it; see `ForwardingSource`."""

    def __init__(self, sources: Mapping[str, TensorSource]) -> None:
        self._sources = sources

    def behind(self, key: str) -> tuple[TensorSource, str]:
        """See `ForwardingSource.behind`."""
        return self._find(key), key

    def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        """See `TensorSource.read_into`."""
        self._find(key).read_into(key, offset, buffer)

    def stream(self, key: str, buffer: memoryview) -> Iterator[memoryview]:
        """See `TensorSource.stream`."""
        return self._find(key).stream(key, buffer)

    def read_strings(self, key: str) -> list[bytes]:
        """See `TensorSource.read_strings`."""
        return self._find(key).read_strings(key)

    def close(self) -> None:
        """See `TensorSource.close`."""
        for source in {id(source): source for source in self._sources.values()}.values():
            source.close()

    def _find(self, key: str) -> TensorSource:
        try:
            return self._sources[key]
        except KeyError:
            raise NotFoundError("no such tensor in the file", key=key) from None
