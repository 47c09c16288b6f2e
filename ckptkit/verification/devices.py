"""`cpu`, `gpu`, `tpu[:ADDRESS]` → a `tf.distribute` strategy to build and run a model under."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from ckptkit import frameworks
from ckptkit.errors import ModelError, UsageError


@dataclass(frozen=True, slots=True)
class Device:
    """Where a model is built and run.

    Attributes:
        title: for people (`CPU`, `TPU grpc://10.0.0.2:8470`).
        strategy: a `tf.distribute.Strategy`.
    """

    title: str
    strategy: Any


class _Here:
    """A strategy for what needs none: PyTorch's modules and models of JAX run where they are."""

    num_replicas_in_sync = 1

    def scope(self) -> AbstractContextManager[None]:
        return nullcontext()


def open_device(name: str) -> Device:
    """The device called `name`.

    Raises:
        UsageError: no such kind of device.
        ModelError: there is none on this machine, or it does not answer; says what was looked for.
    """
    kind, _, address = name.partition(":")
    kind = kind.lower()
    if kind == "cpu" and not frameworks.has_tensorflow():
        return Device("CPU", _Here())
    tf = frameworks.require_tensorflow()
    if kind == "tpu":
        return _open_tpu(tf, address)
    if kind not in {"cpu", "gpu"}:
        raise UsageError("no such device", key=name, expected="cpu, gpu or tpu[:ADDRESS]")
    number = address or "0"
    if not number.isdecimal():
        raise UsageError("not a device number", key=name, expected=f"{kind}:0")
    found = tf.config.list_logical_devices(kind.upper())
    if int(number) >= len(found):
        raise ModelError(
            f"no {kind.upper()} {number}",
            expected=f"a device that TensorFlow lists as {kind.upper()}:{number}",
            found=f"{len(found)} of them",
            hint="`python -c 'import tensorflow as tf; print(tf.config.list_logical_devices())'` lists all.",
        )
    title = kind.upper() if number == "0" else f"{kind.upper()} {number}"
    return Device(title, tf.distribute.OneDeviceStrategy(f"/device:{kind.upper()}:{number}"))


# Failures of a resolver that finds nothing: TensorFlow raises ValueError without an address to try, and these when the
# address or the runtime does not answer.
def _open_tpu(tf: Any, address: str) -> Device:
    looked_for = f"a TPU at {address}" if address else "a TPU of this machine (TPU_NAME, local runtime)"
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=address or "local")
        if address and address != "local":
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        strategy = tf.distribute.TPUStrategy(resolver)
    except (ValueError, RuntimeError, OSError, tf.errors.OpError) as error:
        raise ModelError(
            "no TPU",
            expected=looked_for,
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no answer'}",
            hint="--emulate-tpu shows on a CPU what difference to expect.",
        ) from error
    return Device(f"TPU {address}".strip(), strategy)


def run_on(device: Device, function: Any, arguments: list[Any]) -> list[Any]:
    """Call a `tf.function` under the device's strategy; its flat outputs as they are on the first replica.

    A strategy of several replicas (a TPU slice) runs the same batch on each, and one answer is all that is asked for.
    """
    strategy = device.strategy
    outputs = strategy.run(function, args=tuple(arguments))
    return [strategy.experimental_local_results(value)[0] for value in outputs]
