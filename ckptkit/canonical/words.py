"""Where a layer's path ends and the variable's name begins: `rnn/gru_cell` + `gates/kernel`, `dense` + `bias`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ckptkit.canonical.fit import Fitter, suffixes
from ckptkit.canonical.naming import public, without_auto_suffix
from ckptkit.canonical.wrapped import Scope
from ckptkit.conventions.layout import Shape

# What Keras never trains, whatever its flags say.
NEVER_TRAINED = frozenset({"moving_mean", "moving_variance", "mean", "variance", "count", "vector_u"})

# Keras's own rows of several parts describe attention, whose projections are layers with names of their own.
_WHOLE_LAYERS = ("keras0", "keras1", "keras2", "keras3")


def split_paths(paths: Sequence[Scope], shapes: Sequence[Shape], dialects: tuple[str, ...]) -> list[tuple[Scope, str]]:
    """Split each path into layer and word.

    The word is the last component, or several where a row of the tables calls for them and the layer has everything
    else that the row requires.

    Args:
        paths: components of each variable's path; none is empty.
        shapes: of each variable.
        dialects: whose rows count.

    Returns:
        (layer, word) for each; the layer is empty for a path of one component.
    """
    split = [(path[:-1], path[-1]) for path in paths]
    dialects = tuple(dialect for dialect in dialects if dialect not in _WHOLE_LAYERS)
    several = frozenset(suffix for suffix in suffixes(dialects) if "/" in suffix)
    claims: dict[Scope, list[tuple[int, str]]] = defaultdict(list)
    lengths = sorted({suffix.count("/") + 1 for suffix in several}, reverse=True)
    lasts = {suffix.rpartition("/")[2] for suffix in several}
    for index, path in enumerate(paths):
        if public(path[-1]) not in lasts:
            continue
        for length in lengths:
            word = "/".join(path[-length:])
            if len(path) > length and public(word) in several:
                claims[path[:-length]].append((index, word))
                break
    if not claims:
        return split
    for index, (layer, word) in enumerate(split):
        if layer in claims:
            claims[layer].append((index, word))
    fitter = Fitter(dialects)
    for layer, found in claims.items():
        hint = without_auto_suffix(layer[-1])
        fit = fitter.best([(word, shapes[index]) for index, word in found], None, None, hint)
        if fit is not None and any("/" in word for word in fit.natives):
            for index, word in found:
                if word in fit.natives:
                    split[index] = layer, word
    return split
