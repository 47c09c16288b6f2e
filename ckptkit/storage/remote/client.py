"""The boundary to fsspec: its file systems, its loop, its exceptions, and how often something is tried again.

What is behind fsspec raises whatever its client library raises, without a common base. It is translated here, once,
into one line that names the URL without its secrets; the exception itself may hold them and is not passed on.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ckptkit.errors import (
    CkptkitError,
    MissingDependencyError,
    NotFoundError,
    UsageError,
    without_secrets,
)

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")

_PACKAGES = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs",
    "adl": "adlfs", "hf": "huggingface_hub", "http": "aiohttp", "https": "aiohttp", "oci": "ocifs", "sftp": "paramiko",
    "ssh": "paramiko", "smb": "smbprotocol", "webhdfs": "requests", "oss": "ossfs",
}  # fmt: skip

# Their loggers say again what becomes our one line, and with the URL's secrets in it.
_TALKATIVE = (
    "fsspec",
    "s3fs",
    "gcsfs",
    "adlfs",
    "azure",
    "huggingface_hub",
    "aiohttp",
    "aiobotocore",
    "botocore",
    "asyncio",
)


DENIED = "access denied"


@dataclass(frozen=True)
class Patience:
    """How long a store is given.

    Attributes:
        attempts: how often one range is asked for.
        pause: seconds before the second time; twice as long each time after, and shortened by chance.
        longest_pause: seconds.
        connect: seconds for a connection to stand.
        silence: seconds in which nothing comes before a connection is given up.
        slowest: bytes a second below which it is given up as well.
        total: seconds for one range, all attempts and pauses together.
    """

    attempts: int = 5
    pause: float = 0.2
    longest_pause: float = 5.0
    connect: float = 10.0
    silence: float = 20.0
    slowest: int = 100_000
    total: float = 180.0


patience = Patience()


class ForeignError(OSError):
    """A foreign exception's type and text, without its secrets; the cause of our own error."""


class PassingError(OSError):
    """Something that may be over the next time: a dropped or truncated response, an overloaded server."""


class ChangedError(CkptkitError):
    """An object is another one than when it was opened."""


def changed(url: str) -> ChangedError:
    """The error for an object that was replaced while it was read."""
    return ChangedError("changed while it was read", path=url, hint="Run the command again when nothing writes there")


def filesystem(url: str) -> tuple[Any, str]:
    """The file system of fsspec for `url`, and what the path is called there.

    Raises:
        MissingDependencyError: fsspec, or what it needs for the scheme, is not installed.
        UsageError: no such scheme.
    """
    scheme = url[: url.index("://")].partition("::")[0]
    try:
        import fsspec
    except ImportError as error:
        raise MissingDependencyError(
            "URLs are read through fsspec, which is not installed", path=url, hint=_install("fsspec", scheme)
        ) from error
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        if (
            not logger.handlers
        ):  # keeps what nobody listens to off stderr, and leaves a listener on the root its records
            logger.addHandler(logging.NullHandler())
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise MissingDependencyError(
            f"{scheme}:// needs a package that is not installed", path=url, hint=_install(None, scheme)
        ) from _hidden(error)
    except ValueError as error:
        if "Protocol not known" not in str(error):
            raise translated(error, url) from _hidden(error)
        raise UsageError("no such kind of URL", path=url, found=f"{scheme}://") from _hidden(error)
    except Exception as error:  # noqa: BLE001  # whatever a client library raises for settings that it cannot use
        raise translated(error, url) from _hidden(error)
    return found


def _install(first: str | None, scheme: str) -> str:
    packages = " ".join(dict.fromkeys(filter(None, ("'ckptkit[remote]'" if first else None, _PACKAGES.get(scheme)))))
    return f"pip install {packages or scheme}"


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that runs on fsspec's loop, in fsspec's thread."""
    return wait(submit(coroutine))


def submit(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    """Begin a coroutine on fsspec's loop."""
    from fsspec.asyn import get_loop

    return asyncio.run_coroutine_threadsafe(coroutine, get_loop())


def wait(future: Future[T]) -> T:
    """The result of what was begun; an interrupt takes it back."""
    try:
        return future.result()
    finally:
        future.cancel()


async def persistently(url: str, attempt: Callable[[], Awaitable[T]], nbytes: int = 0) -> T:
    """The result of `attempt`, which is made again while what it fails at may pass.

    Args:
        url: for messages.
        attempt: one try; may keep what it has got and go on from there.
        nbytes: how much it fetches, for the time it is given.

    Raises:
        CkptkitError: it failed for good, or too often.
    """
    end = time.monotonic() + patience.total
    number = 1
    while True:
        limit = min(patience.connect + patience.silence + nbytes / patience.slowest, end - time.monotonic())
        try:
            return await asyncio.wait_for(attempt(), max(limit, 0.001))
        except CkptkitError:
            raise
        except Exception as error:  # noqa: BLE001  # client libraries have no common base; see the module's first lines
            pause = min(patience.pause * 2 ** (number - 1), patience.longest_pause) * random.uniform(0.5, 1)  # noqa: S311
            if number == patience.attempts or not _may_pass(error) or time.monotonic() + pause > end:
                raise translated(error, url, number) from _hidden(error)
        await asyncio.sleep(pause)
        number += 1


def _may_pass(error: Exception) -> bool:
    """Whether trying again can help: everything but what the store said no to."""
    if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError, NotImplementedError, FileExistsError)):
        return False
    if isinstance(error, (OSError, asyncio.TimeoutError, EOFError)):
        return True
    module = type(error).__module__.partition(".")[0]
    return module in {"aiohttp", "botocore", "aiobotocore", "azure", "requests", "urllib3", "httpx"} and not any(
        word in type(error).__name__ for word in ("Credentials", "Auth", "InvalidURL", "Param")
    )


def translated(error: Exception, url: str, attempts: int = 1) -> CkptkitError:
    """Our error for a foreign one; never holds its secrets."""
    if isinstance(error, CkptkitError):
        return error
    if isinstance(error, FileNotFoundError):
        return NotFoundError("no such object", path=url)
    scheme = url[: url.index("://")].partition("::")[0]
    if isinstance(error, PermissionError) or any(word in type(error).__name__ for word in ("Credentials", "Auth")):
        return CkptkitError(
            DENIED, path=url, found=_said(error),
            hint=f"Credentials are those of {_PACKAGES.get(scheme, 'fsspec')}",
        )  # fmt: skip
    times = f" ({attempts} attempts)" if attempts > 1 else ""
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)) or "Timeout" in type(error).__name__:
        return CkptkitError(f"the store does not answer in time{times}", path=url)
    return CkptkitError(f"cannot be read from its store{times}", path=url, found=_said(error))


def _said(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return without_secrets(text)[:300]


def _hidden(error: Exception) -> ForeignError:
    return ForeignError(f"{type(error).__module__}.{type(error).__name__}: {_said(error)}")
