"""Making `git diff` speak of checkpoints: a driver in git's configuration and the attributes that point to it."""

from __future__ import annotations

from ckptkit.git.driver import Change, Scope, install, uninstall

__all__ = ["Change", "Scope", "install", "uninstall"]
