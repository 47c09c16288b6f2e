"""Bytes and names, on this machine and behind URLs; nothing here knows a format."""
