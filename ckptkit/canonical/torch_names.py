"""Names of PyTorch's `state_dict`: whether a file has them, and where a module's path ends.

What `nn` holds in one module, and every other framework in several layers, is parted here: the layers and directions of a
recurrent module (`lstm.weight_ih_l1_reverse`) and the projections of an attention (`self_attn.in_proj_weight`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ckptkit.canonical.wrapped import Scope
from ckptkit.model import StoredTensor

DIALECT = "torch"

# Last components that no other framework's files have (torch/nn/modules).
_OWN = re.compile(
    r"weight|running_mean|running_var|num_batches_tracked|weight_[gv]|weight_orig|in_proj_weight|in_proj_bias"
    r"|weight_(?:ih|hh|hr)(?:_l[0-9]{1,4}(?:_reverse)?)?"
)
_RECURRENT = re.compile(r"((?:weight|bias)_(?:ih|hh|hr))_l([0-9]{1,4})(_reverse)?")
_PROJECTED = re.compile(r"((?:in|q|k|v)_proj)_(weight|bias)")

# A reparametrisation stands between a module and its variable (torch/nn/utils/parametrize.py).
_PARAMETRIZED = "parametrizations"

# Integers and truth values are buffers, which no optimizer moves; but for weights that were made integers.
_BUFFER_TYPES = ("int", "uint", "bool")
_PACKED = re.compile(r"weight|zeros|scales|packed|quant")


def is_torch(names: Iterable[str]) -> bool:
    """Whether some of these dotted names are PyTorch's: nobody else calls a variable `weight`."""
    return any(
        "/" not in name and (_OWN.fullmatch(name.rpartition(".")[2]) or f".{_PARAMETRIZED}." in name) for name in names
    )


def is_buffer(tensor: StoredTensor) -> bool:
    """Whether a tensor only counts, indexes or masks (`num_batches_tracked`, `position_ids`)."""
    return tensor.dtype.startswith(_BUFFER_TYPES) and not _PACKED.search(tensor.key.rpartition(".")[2])


def split_torch(paths: Sequence[Scope]) -> list[tuple[Scope, str]]:
    """Split each path into layer and word.

    Example: `(decoder, lstm, weight_ih_l1_reverse)` is the `weight_ih` of `decoder/lstm/l1/backward`, and of
    `decoder/lstm` where the module has one layer and one direction.
    """
    recurrent = _several(paths)
    split: list[tuple[Scope, str]] = []
    for path in paths:
        scope, word = path[:-1], path[-1]
        found, projected = _RECURRENT.fullmatch(word), _PROJECTED.fullmatch(word)
        if found:
            levels, directions = recurrent[scope]
            level = (f"l{int(found[2])}",) if levels else ()
            direction = ("backward" if found[3] else "forward",) if directions else ()
            split.append(((*scope, *level, *direction), found[1]))
        elif projected:
            split.append(((*scope, projected[1]), projected[2]))
        elif _PARAMETRIZED in scope[1:]:
            place = scope.index(_PARAMETRIZED, 1)
            split.append((scope[:place], "/".join(path[place:])))
        else:
            split.append((scope, word))
    return split


def _several(paths: Iterable[Scope]) -> Mapping[Scope, tuple[bool, bool]]:
    """Recurrent module -> whether it has several layers, and two directions."""
    levels: dict[Scope, set[int]] = defaultdict(set)
    both: set[Scope] = set()
    for path in paths:
        found = _RECURRENT.fullmatch(path[-1])
        if found:
            levels[path[:-1]].add(int(found[2]))
            if found[3]:
                both.add(path[:-1])
    return {scope: (numbers != {0}, scope in both) for scope, numbers in levels.items()}
