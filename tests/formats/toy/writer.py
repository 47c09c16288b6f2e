"""Writing toys."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from ckptkit.formats.parts import FilePart, Outline
from ckptkit.model import Contents, TensorSource, TensorSpec
from ckptkit.storage.address import Address
from tests.formats.toy.reader import open as open_toy


def outline_new(format: str, contents: Contents, final: Address, workers: int) -> Outline:  # noqa: A002
    specs = [TensorSpec(tensor.key, tensor.shape, tensor.dtype) for tensor in contents.tensors]
    return _outline(specs, final)


def outline_like(template: Address, tensors: Mapping[str, TensorSpec], final: Address, workers: int) -> Outline:
    contents, source = open_toy(template)
    source.close()
    assert {tensor.key for tensor in contents.tensors} == tensors.keys()
    return _outline([tensors[tensor.key] for tensor in contents.tensors], final)


def _outline(specs: Sequence[TensorSpec], final: Address) -> Outline:
    keys, nbytes = [spec.name for spec in specs], sum(spec.nbytes for spec in specs)
    return Outline([FilePart(final.base, keys, nbytes, partial(_write, specs=specs), open_toy)])


def _write(path: str, source: TensorSource, specs: Sequence[TensorSpec]) -> None:
    with Path(path).open("wb") as file:
        file.write(b"TOY1" + json.dumps({spec.name: spec.shape for spec in specs}).encode() + b"\n")
        for spec in specs:
            for piece in source.stream(spec.name, memoryview(bytearray(64))):
                file.write(piece)
