"""Pairs of files that tempt a matcher into one mistake each; the truth is known by construction."""
