"""What checkpoints hold beside tensors: contents of vocabularies, tables and settings, compared and followed."""

from __future__ import annotations

from ckptkit.assets.compare import AssetDiff, compare_assets
from ckptkit.assets.contents import AssetContent, read_assets, read_content
from ckptkit.assets.tokens import Vocabulary, vocabularies

__all__ = [
    "AssetContent",
    "AssetDiff",
    "Vocabulary",
    "compare_assets",
    "read_assets",
    "read_content",
    "vocabularies",
]
