"""From a path to something that runs: by what the file itself holds, never by code that it brings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptkit.errors import ModelError, UsageError
from ckptkit.formats.tensorflow.names import META_SUFFIX
from ckptkit.model import KerasV3, LegacyKeras
from ckptkit.verification.devices import Device
from ckptkit.verification.runner import Runner

if TYPE_CHECKING:
    from ckptkit.model import Checkpoint, Contents


def open_runner(checkpoint: Checkpoint, contents: Contents, device: Device, output: str | None) -> Runner:
    """A runner for a checkpoint that holds its own model.

    Args:
        checkpoint: open.
        contents: what its format module found.
        device: where it runs.
        output: tensor or output to take; None for all, or the only one.

    Raises:
        UsageError: the file holds weights alone; says how to name a model.
        CkptkitError: the model cannot be made or is refused.
    """
    path, structure = checkpoint.path, contents.structure
    if contents.format == "saved-model":
        from ckptkit.verification.graphs import SignatureRunner

        return SignatureRunner(_place(checkpoint), device, output)
    if isinstance(structure, LegacyKeras | KerasV3) and structure.config is not None:
        from ckptkit.verification.architecture import load_model
        from ckptkit.verification.live_models import live_runner

        if output is not None:
            raise UsageError("only graphs have outputs to name", path=path, key=output)
        with device.strategy.scope():
            model = load_model(_place(checkpoint), structure.config, structure.keras_version)
        package = "keras" if type(model).__module__.split(".")[0] != "tf_keras" else "tf_keras"
        return live_runner(model, path, device, loaded_by=f"{package} load_model", path=_place(checkpoint))
    meta = None if checkpoint.location is None else checkpoint.location.file_with(META_SUFFIX)
    if contents.format in {"tensor-bundle", "tf-v1"} and meta is not None:
        if device.title.startswith("TPU"):
            raise ModelError(
                "a TF1 graph cannot run on a TPU through tf.distribute", path=path, hint="Use --emulate-tpu."
            )
        from ckptkit.verification.graphs import GraphRunner

        return GraphRunner(meta.text, checkpoint, device, output)
    raise UsageError(
        "the file holds weights without a model", path=path,
        hint="Name a function that makes it: --src-model or --dst-model file.py:callable.",
    )  # fmt: skip


def _place(checkpoint: Checkpoint) -> str:
    """The file or folder that a framework loads, however the user named it."""
    return checkpoint.path if checkpoint.location is None else checkpoint.location.at.text
