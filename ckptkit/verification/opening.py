"""From a path to something that runs: by what the file itself holds, never by code that it brings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ckptkit.errors import ModelError, UsageError
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

        return SignatureRunner(path, device, output)
    if isinstance(structure, LegacyKeras | KerasV3) and structure.config is not None:
        from ckptkit.verification.architecture import load_model
        from ckptkit.verification.live_models import LiveRunner

        if output is not None:
            raise UsageError("only graphs have outputs to name", path=path, key=output)
        with device.strategy.scope():
            model = load_model(path, structure.config, structure.keras_version)
        return LiveRunner(model, path, device)
    meta = _meta_beside(path)
    if contents.format in {"tensor-bundle", "tf-v1"} and meta is not None:
        if device.title.startswith("TPU"):
            raise ModelError(
                "a TF1 graph cannot run on a TPU through tf.distribute", path=path, hint="Use --emulate-tpu."
            )
        from ckptkit.verification.graphs import GraphRunner

        return GraphRunner(meta, checkpoint, device, output)
    raise UsageError(
        "the file holds weights without a model", path=path,
        hint="Name a function that makes it: --src-model or --dst-model file.py:callable.",
    )  # fmt: skip


def _meta_beside(path: str) -> str | None:
    """The `.meta` file of a bundle or V1 checkpoint, whichever of its members `path` is."""
    base = path
    for ending in (".index", ".meta"):
        base = base.removesuffix(ending)
    base = base.split(".data-")[0]
    candidates = [f"{base}.meta"]
    if Path(path).is_dir():
        candidates = sorted(str(found) for found in Path(path).glob("*.meta"))
    return next((name for name in candidates if Path(name).is_file()), None)
