"""Which format an output is written in, and what it is then called."""

from __future__ import annotations

from ckptkit.errors import UnsupportedError, UsageError
from ckptkit.formats import registry
from ckptkit.formats.registry import BUNDLE
from ckptkit.formats.tensorflow.names import META_SUFFIX, bundle_prefix
from ckptkit.storage.address import Address, address

# Endings of files that a bundle is not: nobody who types one means the prefix of a TensorFlow checkpoint.
_OTHERS = {
    META_SUFFIX: "a TensorFlow graph",
    ".pb": "a TensorFlow graph", ".pbtxt": "a TensorFlow graph", ".tflite": "TensorFlow Lite",
    ".pkl": "a Python pickle", ".pickle": "a Python pickle",
    ".onnx": "ONNX", ".gguf": "GGUF", ".npy": "a single array", ".mat": "Matlab", ".zarr": "Zarr",
    ".json": "JSON", ".yaml": "YAML", ".yml": "YAML", ".txt": "text", ".csv": "text", ".md": "text", ".html": "a web page",
    ".zip": "an archive", ".tar": "an archive", ".gz": "an archive", ".tgz": "an archive", ".xz": "an archive",
    ".zst": "an archive", ".7z": "an archive",
}  # fmt: skip


def target_format(typed: str, wanted: str | None) -> str:
    """The format to write from variables alone: the one asked for, else by the ending of the output, in whatever case.

    A name without an ending of its own is the prefix of a TensorFlow checkpoint, and so is that of a file of one.

    Raises:
        UsageError: no such format, or the ending is that of something else.
        UnsupportedError: it cannot be made from variables alone.
    """
    name = address(typed).base.lower()
    found = wanted or _by_ending(name)
    row = next((row for row in registry.FORMATS if row.name == found), None)
    if row is not None and row.needs is not None:
        needs, hint = row.needs
        raise UnsupportedError(f"{found} needs {needs}, which variables alone do not give", path=typed, hint=hint)
    if found is not None and found not in registry.writable():
        raise UsageError("no such format", key=found, expected=f"one of {', '.join(registry.writable())}")
    other = next((words for ending, words in _OTHERS.items() if name.endswith(ending)), None)
    if found is None and other is not None:
        raise UsageError(
            "the ending is not that of a format that is written", path=typed, found=other,
            hint=f"End it in {', '.join(_endings())}, or say --to {BUNDLE} if that is its prefix",
        )  # fmt: skip
    return found or BUNDLE


def _by_ending(name: str) -> str | None:
    """The format with the longest ending that `name` has."""
    found = [(len(ending), row.name) for row in registry.FORMATS for ending in row.endings if name.endswith(ending)]
    return max(found)[1] if found else None


def _endings() -> list[str]:
    return [row.endings[0] for row in registry.FORMATS if row.endings and row.writes == "new"]


def output_address(format: str, typed: str) -> Address:  # noqa: A002
    """What an output of `format` is called: as it was typed, and a bundle by its prefix where one of its files was."""
    at = address(typed)
    prefix = bundle_prefix(at) if format == BUNDLE and not at.ends_with(META_SUFFIX) else None
    return prefix or at
