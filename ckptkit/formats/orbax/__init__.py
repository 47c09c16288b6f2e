"""Orbax checkpoints: trees of arrays in zarr, behind OCDBT's index or in plain folders."""
