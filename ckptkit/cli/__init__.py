"""The command line: one thin module per command, and the one place where an error becomes an exit code."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, NoReturn

import typer

import ckptkit
from ckptkit.cli.help import Command, Group
from ckptkit.errors import CkptkitError, RefusedError, printable

TROUBLE = 2
INTERRUPTED = 130
_TERMINATED = 128 + signal.SIGTERM

# typer re-exports the exceptions that it raises for wrong usage only through this one's bases.
_UsageProblem: type[typer.BadParameter] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)

app = typer.Typer(
    name="ckptkit",
    cls=Group,
    no_args_is_help=True,
    # click 8.5 does so itself, and twice is too much; newer versions of typer have a click of their own, which does not.
    suggest_commands=_UsageProblem.__module__.startswith("typer"),
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Inspect, compare, move and prove the weights in Keras, TensorFlow, Sonnet, PyTorch and JAX checkpoints.",
    epilog="Exit codes: 0 same, verified or clean; 1 differences, failed or findings; 2 trouble; 130 interrupted.",
)

# In the order in which help lists them; the module of each holds a function, or a group of commands, of the same name.
COMMANDS = ("inspect", "diff", "remap", "convert", "verify", "audit", "drift", "git")


def _add_commands(arguments: Sequence[str]) -> None:
    """Make the command that is called; all of them for help and for what is no command.

    Building all of them costs every call 10 ms.
    """
    called = arguments[0] if arguments else ""
    for name in (called,) if called in COMMANDS else COMMANDS:
        command = getattr(importlib.import_module(f"ckptkit.cli.{name}"), name)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(cls=Command)(command)


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"ckptkit {ckptkit.__version__}\n")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def run() -> int:
    """Run the command of `sys.argv`; the exit code."""
    _add_commands(sys.argv[1:])
    try:
        code = app(standalone_mode=False, prog_name="ckptkit")
        sys.stdout.flush()
    except CkptkitError as error:
        return _fail(str(error), error=error)
    except _UsageProblem as error:
        return _fail_usage(error)
    except (typer.Abort, KeyboardInterrupt):
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        return TROUBLE  # the reader of our output has gone: nobody is there to be told
    except SystemExit as stop:
        if stop.code == 1:
            return TROUBLE  # what typer makes of a reader that has gone
        raise
    except OSError as error:
        return _fail(f"{error.filename or 'output'}: {(error.strerror or 'failed').lower()}")
    except MemoryError:
        return _fail("out of memory")
    except Exception as error:  # noqa: BLE001  # a defect of ours is still no traceback for a script to choke on
        return _fail(
            f"internal error: {type(error).__name__}: {error} (--debug or CKPTKIT_DEBUG=1 shows more)", error=error
        )
    if code == INTERRUPTED:  # what typer makes of an interrupt
        return _fail("interrupted", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _fail_usage(error: typer.BadParameter) -> int:
    """Say what is wrong with the call and which help page tells more; nothing where that page is shown already."""
    message = error.format_message()
    # Releases of click and typer word this differently; scripts and the documentation see one.
    if type(error).__name__ == "NoSuchOption":
        option = getattr(error, "option_name", "")
        near = " or ".join(f"'{each}'" for each in sorted(getattr(error, "possibilities", None) or ()))
        message = f"No such option '{option}'." + (f" Did you mean {near}?" if near else "")
    page = error.ctx.command_path if error.ctx else "ckptkit"
    return _fail(f"{message} (`{page} --help` tells more)") if message else TROUBLE


def _fail(message: str, code: int = TROUBLE, error: BaseException | None = None) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to be stopped, and the message is one line
    # A refusal has a line for each group of variables that it is about; everything else is one line.
    lines = message.split("\n") if isinstance(error, RefusedError) else [" ".join(message.splitlines())]
    shown = "\n".join(map(printable, lines))
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError):
        if error is not None and ("--debug" in sys.argv or os.environ.get("CKPTKIT_DEBUG")):
            traceback.print_exception(error)
        sys.stderr.write(f"ckptkit: {shown}\n")
        sys.stderr.flush()
    return code


def _terminate(_signum: int, _frame: FrameType | None) -> NoReturn:
    """Unwind on SIGTERM, so that temporary files are removed."""
    raise SystemExit(_TERMINATED)


def main() -> NoReturn:
    """Entry point of the `ckptkit` command."""
    # A command makes long-lived data and then ends: looking for cycles among 100,000 variables finds none and costs a
    # third of the time.
    gc.disable()
    signal.signal(signal.SIGTERM, _terminate)
    closed = sys.stdout is None
    if closed:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  # open until the process ends
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            # A terminal without UTF-8 shows `\u2190` rather than failing.
            stream.reconfigure(errors="backslashreplace")
    code = run()
    if closed:
        code = _fail("standard output is closed: nobody was told the result")
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        # What is still buffered for a closed or full output must not raise once more when the interpreter exits.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = code or TROUBLE
    sys.exit(code)
