"""The calls that README shows and the command line uses: rooms composed, nothing computed here.

Public names are resolved in `ckptkit` itself, each from its own module, so that `inspect` does not pay for `verify`.
"""
