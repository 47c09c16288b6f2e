"""The diff driver `ckptkit`: setting it up for one repository or all, and undoing that."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ckptkit.errors import RefusedError
from ckptkit.formats.registry import binary_patterns
from ckptkit.git.block import with_block, without_block
from ckptkit.git.command import read_config, run_git, unset_config
from ckptkit.output.placing import staged
from ckptkit.storage.address import address

Scope = Literal["local", "global"]

NAME = "ckptkit"

PATTERNS = binary_patterns()
"""Files that the driver is for; what of them is no checkpoint is shown as the text or the digest that it is."""

_ATTRIBUTES = tuple(f"{pattern} diff={NAME}" for pattern in PATTERNS)

# Where git keeps what textconv printed (gitattributes(5), "Performing text diffs of binary files").
_CACHE = f"refs/notes/textconv/{NAME}"

# What git's check-attr prints for an attribute that names nobody.
_NOBODY = {"unspecified", "set", "unset"}


@dataclass(frozen=True, slots=True)
class Change:
    """What was set up or undone.

    Attributes:
        attributes: path of the attributes file.
        command: how git calls ckptkit; None after undoing.
        changed: whether anything had to be done.
    """

    attributes: str
    command: str | None
    changed: bool


def install(scope: Scope) -> Change:
    """Point git to ckptkit for the files of `PATTERNS`; doing it twice is doing it once.

    Args:
        scope: `local` writes the repository's `config` and `info/attributes`, neither of which is committed; `global` the
            user's own configuration and attributes file.

    Raises:
        RefusedError: another driver is set up for one of these files.
        CkptkitError: git is missing, there is no repository here, a file cannot be written.
    """
    attributes = _attributes_file(scope)
    _refuse_other_drivers(scope)
    command = program()
    wanted = _settings(command, cached=scope == "global" or not _uses_lfs())
    changed = False
    for key, value in wanted.items():
        if read_config(f"--{scope}", "--get-all", key) != value:
            run_git("config", f"--{scope}", "--replace-all", key, value)
            changed = True
    before = _read(attributes)
    after = with_block(before, _ATTRIBUTES)
    if after != before:
        _write(attributes, after)
        changed = True
    _forget_texts(scope)
    return Change(str(attributes), command, changed)


def uninstall(scope: Scope) -> Change:
    """Undo `install`: its settings, its block of attributes and git's copies of its texts; nothing else.

    Raises:
        CkptkitError: as for `install`.
    """
    attributes = _attributes_file(scope)
    changed = False
    for key in _settings("", cached=False):
        if read_config(f"--{scope}", "--get-all", key) is not None:
            unset_config(f"--{scope}", key)
            changed = True
    before = _read(attributes)
    after = without_block(before)
    if after != before:
        _write(attributes, after)
        changed = True
    _forget_texts(scope)
    return Change(str(attributes), None, changed)


def program() -> str:
    """How git's shell calls ckptkit.

    By its name where the PATH leads to one outside of a virtual environment; a name inside one would be lost as soon as
    the environment is left, so there it is the full path. Never `python -m ckptkit` alone: git calls it in the top folder of
    the working tree, and Python would import what lies there.
    """
    found = shutil.which(NAME)
    scripts = Path(sysconfig.get_path("scripts"))
    if found and (sys.prefix == sys.base_prefix or Path(found).parent != scripts):
        return NAME
    script = scripts / NAME
    if script.is_file():
        return shlex.quote(str(script))
    return f"{shlex.quote(sys.executable)} -I -m {NAME}"


def _settings(command: str, *, cached: bool) -> dict[str, str]:
    # Behind `--` because git names files of the working tree as they are, and one may be called `-x.h5`.
    return {
        f"diff.{NAME}.textconv": f"{command} git textconv --",
        # git keeps the text of each version: `git log -p` reads it once. Not with git-lfs, where the text of a version
        # that has not been downloaded yet is that of its pointer.
        f"diff.{NAME}.cachetextconv": str(cached).lower(),
        f"diff.{NAME}.binary": "true",
        f"difftool.{NAME}.cmd": f'{command} git difftool -- "$LOCAL" "$REMOTE" "$MERGED"',
    }


def _attributes_file(scope: Scope) -> Path:
    if scope == "local":
        return Path(os.fsdecode(run_git("rev-parse", "--git-path", "info/attributes")).removesuffix("\n"))
    for place in ("--global", "--system"):
        named = read_config(place, "--type=path", "--get", "core.attributesFile")
        if named:
            return Path(named)
    # gitattributes(5): the default where core.attributesFile is not set.
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path("~/.config").expanduser())
    return Path(home) / "git" / "attributes"


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _write(path: Path, text: bytes) -> None:
    if not text:
        Path(os.path.realpath(path)).unlink(missing_ok=True)
        return
    Path(os.path.realpath(path)).parent.mkdir(parents=True, exist_ok=True)
    with staged(address(path), force=True, inputs=()) as temporary:
        Path(temporary).write_bytes(text)


def _refuse_other_drivers(scope: Scope) -> None:
    """Raise where another driver that is more than a name is responsible for a file that ours would take."""
    for path, driver in _attribute("diff", scope).items():
        if driver in {NAME, *_NOBODY} or not _configured(driver):
            continue
        raise RefusedError(
            "another diff driver is set up for such files", path=path, found=f"diff={driver}",
            hint=f"Remove it from the attributes, or its settings with `git config --remove-section diff.{driver}`",
        )  # fmt: skip


def _configured(driver: str) -> bool:
    """Whether anything is set for `driver`; git-lfs writes `diff=lfs` and nothing besides."""
    listed = run_git("config", "--null", "--list", "--name-only").split(b"\0")
    return any(os.fsdecode(key).startswith(f"diff.{driver}.") for key in listed)


def _uses_lfs() -> bool:
    return "lfs" in _attribute("filter", "local").values()


def _attribute(name: str, scope: Scope) -> dict[str, str]:
    """Value of an attribute for a name of each pattern and, in a repository, for every tracked file of them."""
    probes = [pattern.replace("*", "any") for pattern in PATTERNS]
    if scope == "local":
        tracked = run_git("ls-files", "-z", "--full-name", "--", *(f":(top,glob)**/{pattern}" for pattern in PATTERNS))
        return _checked(name, [*probes, *filter(None, os.fsdecode(tracked).split("\0"))], {})
    # git tells attributes only in a repository: an empty one has none but the user's own.
    with tempfile.TemporaryDirectory() as empty:
        run_git("init", "--quiet", "--bare", "--template=", empty)
        return _checked(name, probes, {"GIT_DIR": empty})


def _checked(name: str, paths: list[str], env: dict[str, str]) -> dict[str, str]:
    told = run_git("check-attr", "-z", "--stdin", name, stdin=os.fsencode("\0".join(paths) + "\0"), env=env)
    fields = os.fsdecode(told).split("\0")  # path, attribute, value, and so on
    return dict(zip(fields[::3], fields[2::3], strict=False))


def _forget_texts(scope: Scope) -> None:
    """Drop git's copies of earlier texts: an upgrade may word them otherwise."""
    if scope == "local":
        run_git("update-ref", "-d", _CACHE)
