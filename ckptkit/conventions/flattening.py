"""What a person says of flattened images: `flatten=channels_first` of all of them, `flatten:fc1=7,7,512` of one layer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from ckptkit.conventions.torch import DIALECT as TORCH
from ckptkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ckptkit.model import CheckpointSpec

FLATTEN = "flatten"
NONE: Literal["none"] = "none"

_SIZES = re.compile(r"[1-9][0-9]{0,8}(?:,[1-9][0-9]{0,8})+")


def flattened_by(spec: CheckpointSpec) -> Mapping[str, str]:
    """In which order the framework of a checkpoint flattens images, where there is only one: PyTorch's channels come first."""
    return {FLATTEN: "channels_first"} if any(layer.dialect == TORCH for layer in spec.layers) else {}


def is_said(key: str) -> bool:
    """Whether an assumption is of one layer: `flatten:fc1`."""
    word, colon, name = key.partition(":")
    return word == FLATTEN and bool(colon and name)


def said_of(assume: Mapping[str, str]) -> Mapping[str, tuple[int, ...] | Literal["none"]]:
    """Layer -> the image that its features are, channels last, or `none`.

    Raises:
        UsageError: a value that is neither.
    """
    found: dict[str, tuple[int, ...] | Literal["none"]] = {}
    for key, value in assume.items():
        if not is_said(key):
            continue
        if value != NONE and not _SIZES.fullmatch(value):
            raise UsageError("an image has a size", key=key, expected="HEIGHT,WIDTH,CHANNELS or none", found=value)
        found[key.partition(":")[2]] = NONE if value == NONE else tuple(map(int, value.split(",")))
    return found
