"""Checkpoints under the names that well-known code gave them, into the Keras models that people load them into.

The names, shapes and layouts are facts of the published checkpoints; the values are those of a random model, so that
the truth is known by construction.
"""
