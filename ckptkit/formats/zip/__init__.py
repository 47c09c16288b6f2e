"""Zip archives, read from their bytes."""
