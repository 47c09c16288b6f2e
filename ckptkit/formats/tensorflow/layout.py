"""What lies where in a SavedModel's folder (tensorflow/python/saved_model/constants.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.formats.tensorflow.names import INDEX_SUFFIX

if TYPE_CHECKING:
    from ckptkit.storage.address import Address

GRAPH_FILE = "saved_model.pb"
TEXT_GRAPH_FILE = "saved_model.pbtxt"
KERAS_METADATA_FILE = "keras_metadata.pb"
FINGERPRINT_FILE = "fingerprint.pb"
VARIABLES = "variables"


def is_saved_model(folder: Address) -> bool:
    """Whether `folder` is a SavedModel, or what is left of one: its graph file, or a bundle in its `variables`."""
    index = variables_prefix(folder).add(INDEX_SUFFIX)
    return any(file.is_file() for file in (folder.join(GRAPH_FILE), folder.join(TEXT_GRAPH_FILE), index))


def variables_prefix(folder: Address) -> Address:
    """Prefix of the bundle inside the SavedModel `folder`."""
    return folder.join(VARIABLES).join(VARIABLES)
