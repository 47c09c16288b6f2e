"""Runners for graphs in files: TF1 graphs from `.meta`, signatures of SavedModels.

A graph is a program. Only the part that the outputs need is run, variables are filled by ckptkit's own reader rather than
by the file's restore ops, and a graph whose needed part holds ops that reach outside the computation is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckptkit.errors import FormatError, LimitError, ModelError, NotFoundError, UnsupportedError
from ckptkit.references import describe
from ckptkit.verification.devices import Device
from ckptkit.verification.functions import FunctionRunner, dense
from ckptkit.verification.graph_facts import draws_of, half_precision_of, lookup_limits
from ckptkit.verification.inputs import InputSpec
from ckptkit.verification.live_models import dimensions

if TYPE_CHECKING:
    import numpy as np

    from ckptkit.model import Checkpoint

# Ops that touch files, run Python or talk to other machines. A model's forward pass needs none of them.
_OUTSIDE = frozenset(
    """
    EagerPyFunc FixedLengthRecordReader FixedLengthRecordReaderV2 IdentityReader IdentityReaderV2 LMDBReader MatchingFiles
    MergeV2Checkpoints PyFunc PyFuncStateless ReadFile ReaderReadV2 RemoteCall Restore RestoreSlice RestoreV2 RpcCall Save
    SaveSlices SaveV2 TFRecordReader TFRecordReaderV2 TextLineReader TextLineReaderV2 WholeFileReader WholeFileReaderV2
    WriteFile _Recv _Send
    """.split()  # noqa: SIM905  # a table reads better than thirty quoted lines
)

# A graph definition is a protocol buffer, which cannot be larger.
_LARGEST_GRAPH = 2 << 30

_PLACEHOLDERS = {"Placeholder", "PlaceholderV2"}


class GraphRunner:
    """Runs a TF1 graph in a session of its own, with variables from the checkpoint beside it."""

    path: str | None

    def __init__(self, meta: str, checkpoint: Checkpoint, device: Device, output: str | None) -> None:
        """Import the graph, keep what the outputs need, fill its variables.

        Args:
            meta: path of the `.meta` file.
            checkpoint: the open checkpoint.
            device: where it runs; a CPU or GPU.
            output: name of the output tensor or op; None to find it.

        Raises:
            CkptkitError: the graph cannot be imported, has no single output, or needs ops that are refused.
        """
        import tensorflow as tf

        self._tf = tf.compat.v1
        self.name = self.path = checkpoint.path
        self.loaded_by = "ckptkit's reader, by the names of the graph's variables"
        whole = _import_graph(self._tf, meta)
        names = [_tensor_name(whole, meta, output)] if output else _find_outputs(whole, meta)
        needed = tf.compat.v1.graph_util.extract_sub_graph(whole.as_graph_def(), [name.split(":")[0] for name in names])
        refuse_outside((node.op for node in needed.node), meta)
        refuse_outside((node.op for body in needed.library.function for node in body.node_def), meta)
        kept = {node.name for node in needed.node}
        self._graph = whole
        with whole.as_default():
            self._variables_ = [v for v in self._tf.global_variables() if v.op.name in kept]
        self._session = self._tf.Session(graph=whole, config=self._tf.ConfigProto(allow_soft_placement=True))
        self._outputs = [whole.get_tensor_by_name(name) for name in names]
        self.outputs = tuple(name.removesuffix(":0") for name in names)
        placeholders = [op.outputs[0] for op in whole.get_operations() if op.name in kept and op.type in _PLACEHOLDERS]
        self._settings = {tensor: _setting(tensor) for tensor in placeholders if tensor.shape.rank == 0}
        self._inputs = [tensor for tensor in placeholders if tensor not in self._settings]
        self.inputs = tuple(
            InputSpec(tensor.op.name, dimensions(tensor.shape), tensor.dtype.base_dtype.name, limit)
            for tensor, limit in zip(self._inputs, lookup_limits(whole, self._inputs), strict=True)
        )
        self._needed = [op for op in whole.get_operations() if op.name in kept]
        self._gradients: tuple[Any, list[tuple[Any, Any]]] | None = None
        self._load(checkpoint)
        del device  # placement is the session's; a strategy cannot hold a TF1 graph

    def _load(self, checkpoint: Checkpoint) -> None:
        values = []
        for variable in self._variables_:
            try:
                found = checkpoint.find(variable.op.name)
            except NotFoundError as error:
                raise ModelError(
                    "the graph has a variable that the checkpoint lacks", path=self.name, key=variable.op.name
                ) from error
            values.append(checkpoint[found.name].read())
        self.assign(values)

    def run(self, arrays: Sequence[np.ndarray], *, free: bool = False) -> list[np.ndarray]:  # noqa: ARG002
        """As `Runner.run`; a session has no say in what its random ops draw."""
        feed = {**self._settings, **dict(zip(self._inputs, arrays, strict=True))}
        changing = any(op.type.startswith(("Assign", "Scatter", "ResourceScatter")) for op in self._needed)
        before = self.weights() if changing else []
        try:
            return list(self._session.run(self._outputs, feed))
        except Exception as error:  # TensorFlow raises its own and Python's alike
            raise ModelError(f"running the graph failed: {describe(error)}", path=self.name) from error
        finally:
            if changing:
                self.assign(before)

    def draws(self, arrays: Sequence[np.ndarray]) -> tuple[str, ...]:  # noqa: ARG002
        """As `Runner.draws`."""
        return draws_of(self._needed)

    def half_precision(self, arrays: Sequence[np.ndarray]) -> str | None:  # noqa: ARG002
        """As `Runner.half_precision`."""
        return half_precision_of(self._needed)

    def names(self) -> list[str]:
        """As `Runner.names`."""
        return [variable.op.name for variable in self._variables_]

    def weights(self) -> list[np.ndarray]:
        """As `Runner.weights`."""
        return list(self._session.run(self._variables_)) if self._variables_ else []

    def assign(self, values: Sequence[np.ndarray]) -> None:
        """As `Runner.assign`."""
        for variable, value in zip(self._variables_, values, strict=True):
            # Feeding the initializer's input sets reference and resource variables alike.
            self._session.run(variable.initializer, {variable.initializer.inputs[1]: value})

    def gradients(
        self, arrays: Sequence[np.ndarray], factors: Sequence[np.ndarray | None]
    ) -> list[np.ndarray | None] | None:
        """As `Runner.gradients`."""
        wanted = [
            (output, factor)
            for output, factor in zip(self._outputs, factors, strict=True)
            if factor is not None and output.dtype.base_dtype.is_floating
        ]
        floating = [variable for variable in self._variables_ if variable.dtype.base_dtype.is_floating]
        if not wanted:
            return None
        feed = {**self._settings, **dict(zip(self._inputs, arrays, strict=True))}
        try:
            if self._gradients is None or self._gradients[0] is not factors:  # one batch after the other has the same
                with self._graph.as_default():
                    found = self._tf.gradients(
                        [output for output, _ in wanted],
                        floating,
                        [self._tf.constant(factor, output.dtype.base_dtype) for output, factor in wanted],
                    )
                self._gradients = factors, [(v, g) for v, g in zip(floating, found, strict=True) if g is not None]
            present = self._gradients[1]
            values = self._session.run([gradient for _, gradient in present], feed)
        except Exception:  # noqa: BLE001  # ops without a gradient raise whatever they like: values are compared then
            return None
        known = {variable.op.name: dense(value) for (variable, _), value in zip(present, values, strict=True)}
        return [known.get(variable.op.name) for variable in self._variables_]

    def traced(self, arrays: Sequence[np.ndarray]) -> Any:  # noqa: ARG002  # placeholders know their shapes
        """As `Runner.traced`."""
        frozen = self._tf.graph_util.convert_variables_to_constants(
            self._session, self._graph.as_graph_def(), [tensor.op.name for tensor in self._outputs]
        )
        settings = {tensor.name: value for tensor, value in self._settings.items()}

        def imported() -> None:
            constants = {name: self._tf.constant(value) for name, value in settings.items()}
            self._tf.import_graph_def(frozen, constants, name="")

        wrapped = self._tf.wrap_function(imported, [])
        element = wrapped.graph.as_graph_element
        return wrapped.prune(
            [element(tensor.name) for tensor in self._inputs], [element(tensor.name) for tensor in self._outputs]
        )

    def live(self) -> None:
        """No live object stands behind a graph."""

    def call(self, arrays: Sequence[np.ndarray]) -> None:
        """Nothing to watch."""


def _import_graph(tf: Any, meta: str) -> Any:
    from ckptkit.storage.address import address
    from ckptkit.storage.bytes import read

    storage = address(meta).open()
    try:
        if storage.size > _LARGEST_GRAPH:
            raise LimitError(
                "too large for a graph", path=meta, expected=f"at most {_LARGEST_GRAPH}", found=storage.size
            )
        data = bytes(read(storage, 0, storage.size))
    finally:
        storage.close()
    definition = tf.MetaGraphDef()
    try:
        definition.ParseFromString(data)
    except Exception as error:  # the protobuf runtime's DecodeError has no stable home
        raise FormatError("not a MetaGraphDef", path=meta) from error
    graph = tf.Graph()
    with graph.as_default():
        try:
            tf.train.import_meta_graph(definition, clear_devices=True)
        except Exception as error:  # unknown ops, versions, attributes: ValueError, KeyError, OpError …
            raise UnsupportedError(f"TensorFlow cannot import the graph: {describe(error)}", path=meta) from error
    return graph


def refuse_outside(ops: Iterable[str], path: str) -> None:
    """Raise when one of `ops` reaches outside the computation."""
    found = sorted(_OUTSIDE.intersection(ops))
    if found:
        raise UnsupportedError(
            "the graph needs ops that touch files, run Python or reach other machines, and is not run",
            path=path,
            found=", ".join(found),
        )


def _tensor_name(graph: Any, meta: str, output: str) -> str:
    name = output if ":" in output else f"{output}:0"
    try:
        return str(graph.get_tensor_by_name(name).name)
    except (KeyError, ValueError) as error:
        import difflib

        names = [op.name for op in graph.get_operations()]
        near = difflib.get_close_matches(output, names, n=3)
        hint = f"Near it: {', '.join(near)}." if near else None
        raise NotFoundError("no such tensor in the graph", path=meta, key=output, hint=hint) from error


# Scopes that TensorFlow itself makes for training and saving; nothing in them is what a model is for.
_SERVICE = re.compile(r"(?:save|gradients|report_uninitialized_\w+|init|train|global_step)(?:_\d+)?")

# Ops that change a variable; an optimizer's stand at the end of a training graph, in a scope of any name.
_UPDATES = ("Apply", "Assign", "ResourceApply", "ResourceScatter", "Scatter", "SparseApply")


def _find_outputs(graph: Any, meta: str) -> list[str]:
    """The one floating tensor that depends on an input and that nothing else consumes.

    Raises:
        ModelError: there is none or several; lists them.
    """
    dependent: set[str] = set()
    for op in graph.get_operations():  # in topological order, save for the back edges of loops
        if op.type in _PLACEHOLDERS or any(tensor.op.name in dependent for tensor in op.inputs):
            dependent.add(op.name)
    ends = [
        tensor.name
        for op in graph.get_operations()
        if op.name in dependent
        and not op.type.startswith((*_PLACEHOLDERS, *_UPDATES))
        and not _SERVICE.fullmatch(op.name.split("/")[0])
        for tensor in op.outputs
        if tensor.dtype.is_floating and not tensor.consumers()
    ]
    if len(ends) != 1:
        raise ModelError(
            "which tensor is the output is not clear", path=meta, expected="one", found=", ".join(ends[:8]) or "none",
            hint="Name it with --src-output or --dst-output.",
        )  # fmt: skip
    return ends


def _setting(tensor: Any) -> Any:
    """What a scalar placeholder is at inference: a phase flag is off, a keep probability is one."""
    if tensor.dtype.is_bool:
        return False
    name = tensor.op.name.lower()
    if tensor.dtype.is_floating and "keep" in name:
        return 1.0
    if tensor.dtype.is_floating and "drop" in name:
        return 0.0
    raise ModelError(
        "what to feed a scalar placeholder is not known", key=tensor.op.name,
        hint="Export the graph without it, or write a factory and name it as a REF.",
    )  # fmt: skip


class SignatureRunner(FunctionRunner):
    """Runs a signature of a SavedModel."""

    def __init__(self, folder: str, device: Device, output: str | None) -> None:
        """Load the model under the device's strategy.

        Raises:
            CkptkitError: it cannot be loaded, has no signature to run, or needs ops that are refused.
        """
        import tensorflow as tf

        self.name = self.path = folder
        self.loaded_by = "tf.saved_model.load"
        self._device = device
        _check_saved_model(folder)
        try:
            with device.strategy.scope():
                self._model = tf.saved_model.load(folder)
        except Exception as error:  # TensorFlow raises its own and Python's alike
            raise ModelError(f"TensorFlow cannot load it: {describe(error)}", path=folder) from error
        signatures = dict(self._model.signatures)
        if not signatures:
            raise ModelError("has no signature to run", path=folder, hint="Name a factory with --src-model.")
        self._signature = signatures.get("serving_default") or next(iter(signatures.values()))
        specs = self._signature.structured_input_signature[1]
        self._names = sorted(specs)
        graph = self._signature.graph
        arguments = {tensor.op.name: tensor for tensor in graph.inputs}
        limits = lookup_limits(graph, [arguments.get(specs[name].name) for name in self._names])
        self.inputs = tuple(
            InputSpec(name, dimensions(specs[name].shape), specs[name].dtype.name, limit)
            for name, limit in zip(self._names, limits, strict=True)
        )
        found = sorted(self._signature.structured_outputs)
        if output is not None and output not in found:
            raise NotFoundError("no such output", path=folder, key=output, expected=", ".join(found))
        self.outputs = (output,) if output else tuple(found)

        @tf.function  # type: ignore[untyped-decorator]  # TensorFlow publishes no types
        def function(*flat: Any) -> list[Any]:
            values = self._signature(**dict(zip(self._names, flat, strict=True)))
            return [values[name] for name in self.outputs]

        self._function = function

    def _variables(self) -> list[Any]:
        return list(self._signature.variables)

    def live(self) -> None:
        """A restored signature has no layers to watch."""

    def call(self, arrays: Sequence[np.ndarray]) -> None:
        """Nothing to watch."""


def _check_saved_model(folder: str) -> None:
    """Refuse a SavedModel whose functions hold ops that reach outside, its own saving and restoring aside."""
    from tensorflow.core.protobuf import saved_model_pb2

    from ckptkit.storage.address import address
    from ckptkit.storage.bytes import read

    storage = address(Path(folder) / "saved_model.pb").open()
    try:
        data = bytes(read(storage, 0, storage.size))
    finally:
        storage.close()
    definition = saved_model_pb2.SavedModel()
    try:
        definition.ParseFromString(data)
    except Exception as error:  # the protobuf runtime's DecodeError has no stable home
        raise FormatError("not a SavedModel", path=storage.name) from error
    own = {"MergeV2Checkpoints", "RestoreV2", "SaveV2"}
    for graph in definition.meta_graphs:
        nodes = [node.op for node in graph.graph_def.node]
        nodes += [node.op for body in graph.graph_def.library.function for node in body.node_def]
        refuse_outside((op for op in nodes if op not in own), folder)
