"""Blosc, which only tensorstore unpacks here: it gets the bytes of one chunk in memory, and no path.

Source of the header: https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst.
"""

from __future__ import annotations

from typing import Any

from ckptkit.errors import FormatError, MissingDependencyError

_HEADER_BYTES = 16


def unpack_blosc(packed: bytes | bytearray, size: int, *, path: str, key: str) -> bytes:
    """What `packed` unpacks to, which has to be `size` bytes.

    Raises:
        FormatError: it says that it is of another size, or does not unpack.
        MissingDependencyError: tensorstore is not installed.
    """
    declared = int.from_bytes(packed[4:8], "little"), int.from_bytes(packed[12:16], "little")
    if len(packed) < _HEADER_BYTES or declared != (size, len(packed)):
        raise FormatError(
            "a chunk does not unpack to its size, or is damaged", path=path, key=key, expected=f"{size} bytes",
            found=f"{declared[0]} bytes",
        )  # fmt: skip
    tensorstore = tensorstore_for("chunks packed by blosc", path=path, key=key)
    context = tensorstore.Context({"cache_pool": {"total_bytes_limit": 0}})
    store = tensorstore.KvStore.open({"driver": "memory"}, context=context).result()
    store.write("0", bytes(packed)).result()
    spec = {
        "driver": "zarr", "kvstore": {"driver": "memory"}, "open": True, "assume_metadata": True,
        "metadata": {
            "zarr_format": 2, "shape": [size], "chunks": [size], "dtype": "|u1", "fill_value": None, "order": "C",
            "filters": None, "compressor": {"id": "blosc", "cname": "lz4", "clevel": 1, "shuffle": 0},
        },
    }  # fmt: skip
    try:
        value: bytes = tensorstore.open(spec, context=context, read=True).result().read().result().tobytes()
    except ValueError as error:
        raise FormatError("a chunk is damaged", path=path, key=key) from error
    return value


def tensorstore_for(what: str, *, path: object, key: str | None = None) -> Any:
    """The package tensorstore, or the error that says how to get it.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import tensorstore  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise MissingDependencyError(
            f"{what} need the package tensorstore", path=path, key=key, hint="pip install 'ckptkit[orbax]'"
        ) from error
    return tensorstore
