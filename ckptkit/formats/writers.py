"""Which module writes which format; each is imported when it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ckptkit.errors import UnsupportedError, UsageError

if TYPE_CHECKING:
    from ckptkit.formats.output import Kind
    from ckptkit.model import Contents, TensorSource, TensorSpec

_KINDS: dict[str, Kind] = {"tensor-bundle": "bundle", "saved-model": "folder", "keras-sharded": "sharded"}


def kind_of(format: str) -> Kind:  # noqa: A002
    """What an output of `format` is made of; a single file unless said otherwise."""
    return _KINDS.get(format, "file")


def _refuse_to_replace_shards(final: str) -> None:
    """Keras opens shard 0 first, so the new shards would need the old ones' names while the old index still counts."""
    from ckptkit.formats.output import shards

    if shards(final, "sharded"):
        raise UsageError(
            "sharded weights cannot be replaced so that the old or the new is whole at any moment",
            path=final,
            hint="Write to another name, or remove the old ones first",
        )


def write(format: str, path: str, contents: Contents, source: TensorSource, final: str) -> None:  # noqa: A002
    """Write a new checkpoint.

    Args:
        format: as in `Contents.format`.
        path: where to, a temporary place.
        contents: its tensors and structure, as that format's reader would find them.
        source: gives their bytes by the same keys.
        final: the path it gets in the end, for formats that pick shard names that are free there.
    """
    if format == "tensor-bundle":
        from ckptkit.formats.output import free_shard_count
        from ckptkit.formats.tensor_bundle import write_bundle

        write_bundle(path, contents, source, num_shards=free_shard_count(final))
    elif format == "keras-h5":
        from ckptkit.formats.keras_h5 import write_legacy

        write_legacy(path, contents, source)
    elif format == "keras-weights-h5":
        from ckptkit.formats.keras_v3 import write_v3

        write_v3(path, contents, source)
    elif format == "keras-sharded":
        from ckptkit.formats.keras_v3 import write_sharded

        _refuse_to_replace_shards(final)
        write_sharded(path, contents, source)
    elif format == "safetensors":
        from ckptkit.formats.safetensors import write_safetensors

        write_safetensors(path, contents, source)
    elif format == "npz":
        from ckptkit.formats.npz import write_npz

        write_npz(path, contents, source)
    else:
        raise UnsupportedError(f"{format} is not written from variables alone", path=final)


def rewrite(
    format: str,  # noqa: A002
    path: str,
    template: str,
    tensors: Mapping[str, TensorSpec],
    source: TensorSource,
    final: str,
) -> None:
    """Write a copy of `template` in which `tensors` (key -> spec) hold the bytes of `source`; all else stays."""
    if format == "tensor-bundle":
        from ckptkit.formats.output import free_shard_count
        from ckptkit.formats.tensor_bundle import rewrite_bundle

        rewrite_bundle(path, template, tensors, source, num_shards=free_shard_count(final))
    elif format == "saved-model":
        from ckptkit.formats.saved_model import rewrite_saved_model

        rewrite_saved_model(path, template, tensors, source)
    elif format == "safetensors":
        from ckptkit.formats.safetensors import rewrite_safetensors

        rewrite_safetensors(path, template, tensors, source)
    elif format == "npz":
        from ckptkit.formats.npz import rewrite_npz

        rewrite_npz(path, template, tensors, source)
    elif format in {"keras-h5", "keras-weights-h5", "hdf5", "keras", "keras-sharded"}:
        from ckptkit.formats.keras_rewrite import rewrite as rewrite_keras

        if format == "keras-sharded":
            _refuse_to_replace_shards(final)
        rewrite_keras(path, template, tensors, source)
    else:
        raise UnsupportedError(
            f"{format} is not written", path=template,
            hint="Take a template in another format, or `ckptkit convert` this one first.",
        )  # fmt: skip
