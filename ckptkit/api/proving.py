"""What `ckptkit verify` does: make both models, fill them, run them on the same inputs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from ckptkit import frameworks
from ckptkit.api.loading import load_into
from ckptkit.api.opening import bind
from ckptkit.errors import UsageError
from ckptkit.verification import Options, VerifyResult, verify_runners
from ckptkit.verification.inputs import InputSpec

if TYPE_CHECKING:
    import os

    from ckptkit.verification.devices import Device
    from ckptkit.verification.runner import Runner

    Path = str | os.PathLike[str]


def verify(
    source: Path,
    destination: Path,
    *,
    src_model: str | None = None,
    dst_model: str | None = None,
    inputs: str | None = None,
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
) -> VerifyResult:
    """Whether two checkpoints' models compute the same, the source being the reference.

    Args:
        source: a whole model (`.keras`, whole-model `.h5`, SavedModel, a TF1 checkpoint with its `.meta`), or weights for
            the model that `src_model` makes.
        destination: the same for what is verified.
        src_model: `file.py:callable` or `package.module:callable` that makes the source's model.
        dst_model: the same for the destination.
        inputs: an `.npz` file with one batch; made up from `seed` otherwise.
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

    Raises:
        CkptkitError: a model cannot be made, filled or run, or the two do not fit each other.
    """
    frameworks.require_tensorflow()
    from ckptkit.verification.devices import open_device

    first = open_device(device)
    second = first if dst_device is None else open_device(dst_device)
    if emulate_tpu and (first.title, second.title) != ("CPU", "CPU"):
        raise UsageError("a TPU is emulated on the CPU", key="--emulate-tpu", found=f"{first.title}, {second.title}")
    given = _specs(inputs)
    with ExitStack() as stack:
        ours = _open(stack, str(source), src_model, first, src_output, given)
        theirs = _open(stack, str(destination), dst_model, second, dst_output, given or ours.inputs)
        options = Options(
            seed=seed, batch=batch, inputs=inputs, atol=atol, rtol=rtol, emulate_tpu=emulate_tpu, layers=layers,
            devices=(first.title, second.title),
        )  # fmt: skip
        return verify_runners(ours, theirs, options)


def compare_models(
    model_a: Any,
    model_b: Any,
    inputs: Sequence[Any] | None = None,
    *,
    seed: int = 0,
    batch: int = 8,
    atol: float | None = None,
    rtol: float | None = None,
    emulate_tpu: bool = False,
    layers: bool = True,
) -> VerifyResult:
    """Whether two live models compute the same, `model_a` being the reference.

    Args:
        model_a: a Keras 3, tf_keras, Sonnet or `tf.Module` object.
        model_b: another.
        inputs: one array per input; made up from `seed` when None.
        seed: of made-up inputs.
        batch: rows a made-up batch.
        atol: absolute tolerance instead of the calibrated one.
        rtol: relative tolerance.
        emulate_tpu: as for `verify`.
        layers: as for `verify`.

    Raises:
        CkptkitError: a model cannot be run, or the two do not fit each other.
    """
    frameworks.require_tensorflow()
    from ckptkit.verification.devices import open_device
    from ckptkit.verification.live_models import LiveRunner

    cpu = open_device("cpu")
    specs = None
    if inputs is not None:
        specs = [InputSpec(str(i), (None, *array.shape[1:]), array.dtype.name) for i, array in enumerate(inputs)]
    options = Options(
        seed=seed, batch=batch, arrays=None if inputs is None else tuple(inputs), atol=atol, rtol=rtol,
        emulate_tpu=emulate_tpu, layers=layers,
    )  # fmt: skip
    return verify_runners(LiveRunner(model_a, "a", cpu, specs), LiveRunner(model_b, "b", cpu, specs), options)


def _open(
    stack: ExitStack,
    path: str,
    reference: str | None,
    device: Device,
    output: str | None,
    specs: Sequence[InputSpec] | None,
) -> Runner:
    from ckptkit import formats
    from ckptkit.formats.copying import local_copy
    from ckptkit.verification.live_models import LiveRunner, make_variables
    from ckptkit.verification.opening import open_runner

    if reference is not None:
        from ckptkit.references import load_reference

        if output is not None:
            raise UsageError("only graphs have outputs to name", path=path, key=output)
        with device.strategy.scope():
            model = load_reference(reference)
            make_variables(model, specs)
            load_into(model, path)
        return LiveRunner(model, path, device, specs)
    path = stack.enter_context(local_copy(path))
    contents, source = formats.open_contents(path)
    return open_runner(stack.enter_context(bind(contents, source, path)), contents, device, output)


def _specs(inputs: str | None) -> list[InputSpec] | None:
    """Inputs as a file of them has them, the batch left open."""
    if inputs is None:
        return None
    from ckptkit.formats import open_contents

    contents, source = open_contents(inputs)
    source.close()
    return [InputSpec(tensor.key, (None, *tensor.shape[1:]), tensor.dtype) for tensor in contents.tensors]
