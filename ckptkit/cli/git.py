"""`ckptkit git`."""

from __future__ import annotations

import sys
from typing import Annotated, Optional

import typer

from ckptkit.cli.help import Command, Group
from ckptkit.cli.options import no_stream
from ckptkit.errors import CkptkitError, NotFoundError, UnsupportedError

git = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    suggest_commands=False,
    help="Let `git diff`, `git log -p` and `git difftool` speak of layers and variables.",
)

Everywhere = Annotated[bool, typer.Option("--global", help="For all your repositories instead of this one.")]


@git.command(cls=Command)
def install(everywhere: Everywhere = False) -> int:
    """Set up the diff driver for files that end in .h5, .hdf5, .keras, .index, .safetensors, .pt, .pth, .bin or .npz.

    Writes git's configuration and a marked block of attributes, neither of which is committed.

    Example: ckptkit git install
    """
    from ckptkit import git as driver
    from ckptkit.report.terminal import TerminalPage

    done = driver.install("global" if everywhere else "local")
    page = TerminalPage()
    state = "set up" if done.changed else "set up already"
    page.paragraph(f"{state}: `git diff` shows checkpoints by layer and variable; it calls `{done.command}`")
    page.paragraph(f"attributes: {done.attributes}")
    return 0


@git.command(cls=Command)
def uninstall(everywhere: Everywhere = False) -> int:
    """Undo `install`; what else the files hold is not touched.

    Example: ckptkit git uninstall --global
    """
    from ckptkit import git as driver
    from ckptkit.report.terminal import TerminalPage

    done = driver.uninstall("global" if everywhere else "local")
    page = TerminalPage()
    page.paragraph(
        f"{'removed from' if done.changed else 'nothing to remove from'} git's configuration and {done.attributes}"
    )
    return 0


@git.command(cls=Command)
def textconv(
    path: Annotated[str, typer.Argument(metavar="FILE", help="One file of a checkpoint.", callback=no_stream)],
) -> int:
    """Print what a file holds as text for `git diff`, a line for each layer and variable.

    Equal contents give equal text, whatever the file is called. A file that cannot be read is said to be so in the text,
    with exit code 0: one such file must not keep git from showing the others.

    Example: ckptkit git textconv model.weights.h5
    """
    from ckptkit.api.listing import Listing, read_listing
    from ckptkit.report import listing as report

    try:
        found = read_listing(path)
    except NotFoundError:
        raise  # a person's slip: git names files that are there
    except CkptkitError as error:
        sys.stdout.write(f"unreadable: {error}\n")
        return 0
    if isinstance(found, Listing):
        report.write_listing(found, sys.stdout)
    else:
        report.write_unlisted(found, sys.stdout)
    return 0


# What git names in the place of a version that does not exist.
_NO_FILE = "/dev/null"


@git.command(cls=Command)
def difftool(
    local: Annotated[str, typer.Argument(metavar="LOCAL", help="The old version.")],
    remote: Annotated[str, typer.Argument(metavar="REMOTE", help="The new version.")],
    name: Annotated[Optional[str], typer.Argument(metavar="NAME", help="What the file is called.")] = None,  # noqa: UP045
) -> int:
    """Do for `git difftool -t ckptkit` what `ckptkit diff` does, under the file's own name.

    Example: git difftool -y -t ckptkit HEAD~1 -- '*.h5'
    """
    from ckptkit.report.page import Styled
    from ckptkit.report.terminal import TerminalPage

    title = name or remote
    page = TerminalPage()
    if _NO_FILE in (local, remote):
        page.line(Styled(title, "bold"), "  added" if local == _NO_FILE else "  deleted")
        return 1
    page.line(Styled(title, "bold"))
    sys.stdout.flush()  # before anything that is said on stderr
    if title.endswith(".index"):
        raise UnsupportedError(
            "git hands over a bundle's index without its data", path=title,
            hint="`git diff` compares the checksums; `git worktree add` gives both versions whole",
        )  # fmt: skip
    from ckptkit.cli.diff import diff

    return diff(local, remote)
