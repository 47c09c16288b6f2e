"""What `ckptkit verify` does: make both models, fill them, run them on the same inputs."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from ckptkit import frameworks
from ckptkit.api.equal_values import value_pairs
from ckptkit.api.load_into import MATCHING
from ckptkit.api.sides import LOADS, ModelSide, notes_of, open_sides
from ckptkit.api.unused import with_unused
from ckptkit.errors import UsageError
from ckptkit.inputs import parse_shape
from ckptkit.verification import Options, VerifyResult, verify_runners
from ckptkit.verification.inputs import InputSpec

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    Path = str | os.PathLike[str]


def verify(
    source: Path,
    destination: Path,
    *,
    src_model: str | None = None,
    dst_model: str | None = None,
    inputs: str | None = None,
    input_shapes: Sequence[str] | None = None,
    seed: int = 0,
    batch: int = 8,
    device: str = "cpu",
    dst_device: str | None = None,
    emulate_tpu: bool = False,
    src_output: str | None = None,
    dst_output: str | None = None,
    atol: float | None = None,
    rtol: float | None = None,
    layers: bool = False,
    src_load: str = "native",
    dst_load: str = "native",
    src_layout: str | None = None,
    dst_layout: str | None = None,
) -> VerifyResult:
    """Whether two checkpoints' models compute the same, the source being the reference.

    Args:
        source: a whole model (`.keras`, whole-model `.h5`, SavedModel, a TF1 checkpoint with its `.meta`), or weights for
            the model that `src_model` makes.
        destination: the same for what is verified.
        src_model: `file.py:callable` or `package.module:callable` that makes the source's model. Of JAX: a linen module with
            its variables, an NNX module, a Haiku transformed function with its params (and state), a function of a tree and
            arrays with the tree; each as a tuple.
        dst_model: the same for the destination.
        inputs: an `.npz` file with one batch; made up from `seed` otherwise. A ragged input `x` is two
            arrays, `x/values` and `x/row_splits`.
        input_shapes: instead of it, the shape of each made-up input as text: `4,28,28,1`, `4,16:int32`, `2,1:string`.
        seed: of the inputs.
        batch: rows a batch.
        device: `cpu`, `gpu`, `tpu[:ADDRESS]`.
        dst_device: of the destination, if elsewhere.
        emulate_tpu: whether to compute on the CPU as a TPU's default precision would.
        src_output: tensor of a TF1 graph, or output of a SavedModel's signature.
        dst_output: the same for the destination.
        atol: absolute tolerance instead of the calibrated one.
        rtol: relative tolerance, the source's value being the reference.
        layers: whether to say at which layer they part.
        src_load: how `source` gets into the model that `src_model` makes: `native`, by its framework's own loader, or
            `match`, by ckptkit's matching, which the verdict then rests on.
        dst_load: the same for the destination.
        src_layout: how inputs lie on the source's side where they do not lie alike on both, a letter for each axis (`NCHW`).
            Left open, a PyTorch module gets them in the only layout that it takes.
        dst_layout: the same for the destination.

    Raises:
        CkptkitError: a model cannot be made, filled or run, is not a function of its inputs, the two do not fit each
            other, or the outputs prove nothing.
    """
    from ckptkit.verification.devices import open_device
    from ckptkit.verification.layouts import check_layout

    for key, chosen in (("--src-load", src_load), ("--dst-load", dst_load)):
        if chosen not in LOADS:
            raise UsageError("no such way to load", key=key, expected=" or ".join(LOADS), found=chosen)
    first = open_device(device)
    second = first if dst_device is None else open_device(dst_device)
    if emulate_tpu and (first.title, second.title) != ("CPU", "CPU"):
        raise UsageError("a TPU is emulated on the CPU", key="--emulate-tpu", found=f"{first.title}, {second.title}")
    if emulate_tpu:
        frameworks.require_tensorflow()
    shapes = [parse_shape(text) for text in input_shapes or ()]
    if inputs is not None and shapes:
        raise UsageError("inputs and input shapes are both given", hint="One of the two says what the models take.")
    with ExitStack() as stack:
        ours, theirs = open_sides(
            stack,
            ModelSide(
                str(source),
                src_model,
                first,
                src_output,
                src_load,
                "--src-load",
                check_layout(src_layout, "--src-layout"),
            ),
            ModelSide(
                str(destination),
                dst_model,
                second,
                dst_output,
                dst_load,
                "--dst-load",
                check_layout(dst_layout, "--dst-layout"),
            ),
            _specs(inputs, shapes),
        )
        options = Options(
            seed=seed, batch=batch, inputs=inputs, shapes=shapes, atol=atol, rtol=rtol, emulate_tpu=emulate_tpu, layers=layers,
            devices=(first.title, second.title),
            matched=(MATCHING in ours.loaded_by, MATCHING in theirs.loaded_by), notes=notes_of(ours, theirs),
        )  # fmt: skip
        return with_unused(verify_runners(ours, theirs, options, value_pairs), ours, theirs, value_pairs)


def _specs(inputs: str | None, shapes: Sequence[tuple[tuple[int, ...], str]]) -> list[InputSpec] | None:
    """Inputs as a file of them has them, or as their shapes say, the batch left open; None where neither is given."""
    if shapes:
        return [InputSpec(f"input {i}", (None, *shape[1:]), dtype) for i, (shape, dtype) in enumerate(shapes)]
    if inputs is None:
        return None
    from ckptkit.formats import open_contents

    contents, source = open_contents(inputs)
    source.close()
    return [InputSpec(tensor.key, (None, *tensor.shape[1:]), tensor.dtype) for tensor in contents.tensors]
