"""Writing Keras's legacy HDF5 layout (`keras.src.legacy.saving.legacy_h5_format`, Keras 3.15)."""

from __future__ import annotations

import json

from ckptkit.errors import UnsupportedError
from ckptkit.formats.hdf5.write import NewGroup, split_names
from ckptkit.formats.keras.legacy import OPTIMIZER, TOP_LEVEL, join
from ckptkit.model import Contents, LegacyKeras

# What a file says that was not written by Keras itself: the last version whose own layout this is.
_VERSION = "2.15.0"
_BACKEND = "tensorflow"


def legacy_groups(path: str, contents: Contents) -> list[NewGroup]:
    """What a new file in the legacy layout is made of.

    Args:
        path: the new file, for messages.
        contents: tensors, and `LegacyKeras` evidence whose keys are where the layout wants them.

    Raises:
        UnsupportedError: evidence of another layout, or a weight whose key does not follow from its layer and name.
    """
    structure = contents.structure
    if not isinstance(structure, LegacyKeras):
        raise UnsupportedError("the legacy layout needs layers and their weights", path=path)
    whole = bool(structure.config) or any(tensor.key.startswith("model_weights/") for tensor in contents.tensors)
    weights = "model_weights" if whole else ""
    tensors = {tensor.key: tensor for tensor in contents.tensors}

    def group(where: str, pairs: tuple[tuple[str, str], ...]) -> NewGroup:
        for name, key in pairs:
            if key != join(where, name):
                raise UnsupportedError("a weight that its layer does not own", key=key, expected=join(where, name))
        return NewGroup(
            where, split_names("weight_names", [name for name, _ in pairs]), [tensors.pop(key) for _, key in pairs]
        )

    # Without a version every loader takes the weights for those of Keras 1 and converts them.
    stamps = {
        "keras_version": (structure.keras_version or _VERSION).encode(),
        "backend": (structure.backend or _BACKEND).encode(),
    }
    names = split_names("layer_names", [layer.name for layer in structure.groups])
    groups = [NewGroup(weights, {**names, **stamps})]
    if whole:
        config = {} if structure.config is None else {"model_config": json.dumps(structure.config).encode()}
        groups.insert(0, NewGroup("", {**stamps, **config}))
    groups += [group(join(weights, layer.name), layer.weights) for layer in structure.groups]
    groups.append(group(join(weights, TOP_LEVEL), structure.top_level))
    if structure.optimizer:
        groups.append(group(OPTIMIZER, structure.optimizer))
    groups.append(NewGroup("", {}, list(tensors.values())))
    return groups
