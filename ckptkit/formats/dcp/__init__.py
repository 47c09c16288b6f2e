"""Folders of `torch.distributed.checkpoint`, which every process of a run writes its part of."""
