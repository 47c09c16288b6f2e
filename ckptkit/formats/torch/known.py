"""Whether a name is on one of the lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.formats.torch import arrays
from ckptkit.formats.torch.names import (
    CONSTANTS,
    LISTS,
    MAPPINGS,
    NAMED,
    RECORDS,
    STORAGE_MODULES,
    STORAGES,
    TENSOR_CLASSES,
    UNTYPED,
)
from ckptkit.formats.torch.rebuild import MAKERS

if TYPE_CHECKING:
    from ckptkit.formats.torch.pickles import Global

_KNOWN = frozenset((*CONSTANTS, *LISTS, *MAPPINGS, *NAMED, *RECORDS, *TENSOR_CLASSES, *UNTYPED, *MAKERS, *arrays.NAMES))


def is_known(name: Global) -> bool:
    """Whether it means a tensor, a dictionary, a plain value, or a record that is shown."""
    return name.path in _KNOWN or _is_storage(name)


def _is_storage(name: Global) -> bool:
    """Whether it is a class of storages, or of the tensors that early versions named in their records."""
    kind = name.name.removesuffix("Tensor") + "Storage" if name.name.endswith("Tensor") else name.name
    return name.module in STORAGE_MODULES and kind in STORAGES
