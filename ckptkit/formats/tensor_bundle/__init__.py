"""TensorFlow's V2 checkpoints, tensor bundles: `x.index`, `x.data-00000-of-00001` and so on.

Both kinds have this container: name-based ones of `tf.compat.v1.train.Saver` and object-based ones of
`tf.train.Checkpoint`, which also hold an object graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.formats.tensor_bundle.reader import list_index, open_bundle

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ckptkit.model import Contents, TensorSource, TensorSpec

__all__ = ["list_index", "open_bundle", "rewrite_bundle", "write_bundle"]


def write_bundle(prefix: str, contents: Contents, source: TensorSource, *, num_shards: int = 1) -> None:
    """Write a bundle (see `writer.write_bundle`, which is imported when it is needed)."""
    from ckptkit.formats.tensor_bundle import writer

    writer.write_bundle(prefix, contents, source, num_shards=num_shards)


def rewrite_bundle(
    prefix: str,
    template_prefix: str,
    tensors: Mapping[str, TensorSpec],
    source: TensorSource,
    *,
    num_shards: int = 1,
) -> None:
    """Write a bundle like another (see `writer.rewrite_bundle`, which is imported when it is needed)."""
    from ckptkit.formats.tensor_bundle import writer

    writer.rewrite_bundle(prefix, template_prefix, tensors, source, num_shards=num_shards)
