"""What a checkpoint is to ckptkit: plain data, and a source from which bytes are read on demand.

Two levels. A format module gives `Contents`: the tensors as the file names them, and the *evidence* the file holds
about their meaning (layer lists, an object graph, a graph's variable list, an architecture), uninterpreted.
`ckptkit.canonical` turns that into a `CheckpointSpec`: layers, roles, kinds and an order. `Checkpoint` binds a spec
to the source it can be read from.
"""

from ckptkit.model.canonical import (
    By,
    CheckpointSpec,
    Fingerprint,
    Form,
    Kind,
    Layer,
    OrderSource,
    Part,
    Variable,
)
from ckptkit.model.checkpoint import (
    Checkpoint,
    LazyVariable,
    read_tensor,
)
from ckptkit.model.evidence import (
    Contents,
    GraphAttribute,
    GraphNode,
    GraphSlot,
    KerasV3,
    LegacyGroup,
    LegacyKeras,
    MetaGraph,
    MetaVariable,
    ObjectGraph,
    StoredTensor,
    Structure,
    VarsGroup,
)
from ckptkit.model.tensors import (
    CHUNK_BYTES,
    WRITE_BYTES,
    TensorSource,
    TensorSpec,
)

__all__ = [
    "CHUNK_BYTES",
    "WRITE_BYTES",
    "By",
    "Checkpoint",
    "CheckpointSpec",
    "Contents",
    "Fingerprint",
    "Form",
    "GraphAttribute",
    "GraphNode",
    "GraphSlot",
    "KerasV3",
    "Kind",
    "Layer",
    "LazyVariable",
    "LegacyGroup",
    "LegacyKeras",
    "MetaGraph",
    "MetaVariable",
    "ObjectGraph",
    "OrderSource",
    "Part",
    "StoredTensor",
    "Structure",
    "TensorSource",
    "TensorSpec",
    "Variable",
    "VarsGroup",
    "read_tensor",
]
