"""Outputs that are complete, read back, or not there."""
