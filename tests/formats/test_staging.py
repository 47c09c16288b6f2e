"""Staged output: complete or not there, and refused where it may not go."""

from __future__ import annotations

import errno
import itertools
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from ckptkit.errors import CkptkitError, UsageError, WriteError
from ckptkit.formats import open_contents
from ckptkit.formats.registry import named
from ckptkit.output.placing import staged
from ckptkit.output.readback import Recorder, verify_written
from ckptkit.output.staging import staged_here
from ckptkit.storage.address import address
from tests.formats.writing import write_new

Kind = str
FORMATS = {"file": "keras-h5", "folder": "saved-model", "bundle": "tensor-bundle", "sharded": "keras-sharded"}
MADE_OF = {kind: named(name).made_of for kind, name in FORMATS.items()}
KINDS: tuple[Kind, ...] = tuple(FORMATS)
NAMES = {"file": "out.h5", "folder": "model", "bundle": "ckpt", "sharded": "model.weights.json"}


def write(path: str, kind: Kind, text: str, *, final: Path) -> None:
    """What a writer of `kind` leaves at `path`, with `text` in every file."""
    if kind == "file":
        Path(path).write_text(text)
    elif kind == "folder":
        (Path(path) / "variables").mkdir(parents=True)
        (Path(path) / "saved_model.pb").write_text(text)
        (Path(path) / "variables" / "variables.index").write_text(text)
    elif kind == "bundle":
        count = MADE_OF["bundle"].free_count(address(final))
        for number in range(count):
            Path(f"{path}.data-{number:05}-of-{count:05}").write_text(text)
        Path(f"{path}.index").write_text(text)
    else:
        names = (f"model_{number:05}.weights.h5" for number in itertools.count())
        Path(path).with_name(next(name for name in names if not final.with_name(name).exists())).write_text(text)
        Path(path).write_text(text)


def files(folder: Path) -> dict[str, str]:
    """All files below `folder` with their text; nothing hidden may be among them."""
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def put(folder: Path, kind: Kind, text: str, **options: object) -> None:
    """Write an output of `kind` into `folder` through a stage."""
    final = folder / NAMES[kind]
    settings = {"force": False, "inputs": (), **options}
    settings["inputs"] = [address(each) for each in settings["inputs"]]  # type: ignore[attr-defined]
    with staged_here(address(str(final)), made_of=MADE_OF[kind], **settings) as path:  # type: ignore[arg-type]
        assert Path(path).name == final.name
        write(path, kind, text, final=final)


def fail(folder: Path, kind: Kind, error: BaseException, *, force: bool = False) -> None:
    """Raise `error` inside a stage in which everything is written."""
    with staged_here(address(str(folder / NAMES[kind])), force=force, inputs=(), made_of=MADE_OF[kind]) as path:
        write(path, kind, "half", final=folder / NAMES[kind])
        raise error


def write_both(path: str, kind: Kind, final: Path) -> None:
    """Write the stage, and behind its back the output too."""
    write(path, kind, "mine", final=final)
    write(str(final), kind, "theirs", final=final)


@pytest.mark.parametrize("kind", KINDS)
class TestEveryKind:
    def test_new(self, tmp_path: Path, kind: Kind) -> None:
        put(tmp_path, kind, "new")
        assert files(tmp_path)
        assert set(files(tmp_path).values()) == {"new"}

    def test_existing_is_refused(self, tmp_path: Path, kind: Kind) -> None:
        put(tmp_path, kind, "old")
        before = files(tmp_path)
        with pytest.raises(UsageError, match="exists already"):
            put(tmp_path, kind, "new")
        assert files(tmp_path) == before

    def test_force_replaces_and_keeps_nothing_old(self, tmp_path: Path, kind: Kind) -> None:
        for text in ("old", "newer", "newest"):
            put(tmp_path, kind, text, force=True)
            assert set(files(tmp_path).values()) == {text}

    @pytest.mark.parametrize("force", [False, True])
    def test_a_failure_leaves_what_was_there(self, tmp_path: Path, kind: Kind, force: bool) -> None:
        if force:
            put(tmp_path, kind, "old")
        before = files(tmp_path)
        for error in (KeyboardInterrupt, SystemExit, ValueError, MemoryError):
            with pytest.raises(error):
                fail(tmp_path, kind, error(), force=force)
            assert files(tmp_path) == before
            assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]

    def test_platform_errors_become_ours(self, tmp_path: Path, kind: Kind) -> None:
        for number in (errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT):
            with pytest.raises(WriteError, match=os.strerror(number).lower()):
                fail(tmp_path, kind, OSError(number, os.strerror(number)))
        assert list(tmp_path.iterdir()) == []

    def test_the_output_is_an_input(self, tmp_path: Path, kind: Kind) -> None:
        put(tmp_path, kind, "old")
        before = files(tmp_path)
        (tmp_path / "sub").mkdir()
        name = str(tmp_path / NAMES[kind])
        for spelled in (name, f"{tmp_path}/sub/../{NAMES[kind]}", f"{tmp_path}/./{NAMES[kind]}"):
            with pytest.raises(UsageError, match="also an input"):
                put(tmp_path, kind, "new", force=True, inputs=(MADE_OF[kind].head_of(address(spelled)).text,))
        assert files(tmp_path) == before

    def test_something_that_comes_meanwhile_stays(self, tmp_path: Path, kind: Kind) -> None:
        final = tmp_path / NAMES[kind]
        with (
            pytest.raises(UsageError, match="meanwhile"),
            staged_here(address(str(final)), force=False, inputs=(), made_of=MADE_OF[kind]) as path,
        ):
            write_both(path, kind, final)
        assert set(files(tmp_path).values()) == {"theirs"}


def test_members_and_links_of_an_input_are_known(tmp_path: Path) -> None:
    put(tmp_path, "bundle", "old")
    prefix = tmp_path / "ckpt"
    for given in (f"{prefix}.index", f"{prefix}.data-00000-of-00001"):
        with pytest.raises(UsageError, match="also an input"):
            put(tmp_path, "bundle", "new", force=True, inputs=(given,))
    (tmp_path / "in.h5").write_text("old")
    for link in (Path.symlink_to, Path.hardlink_to):
        link(tmp_path / "out.h5", tmp_path / "in.h5")
        with pytest.raises(UsageError, match="also an input"):
            put(tmp_path, "file", "new", force=True, inputs=(str(tmp_path / "in.h5"),))
        (tmp_path / "out.h5").unlink()
    assert (tmp_path / "in.h5").read_text() == "old"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "out.h5").symlink_to("target")
    with pytest.raises(UsageError, match="exists already"):
        put(tmp_path, "file", "new")
    put(tmp_path, "file", "new", force=True)
    assert (tmp_path / "out.h5").is_symlink()
    assert (tmp_path / "target").read_text() == "new"


def test_a_dangling_link_is_something_that_exists(tmp_path: Path) -> None:
    (tmp_path / "out.h5").symlink_to("nothing")
    with pytest.raises(UsageError, match="link"):
        put(tmp_path, "file", "new")
    assert not (tmp_path / "nothing").exists()


def test_the_mode_of_what_is_replaced_stays(tmp_path: Path) -> None:
    put(tmp_path, "file", "old")
    (tmp_path / "out.h5").chmod(0o640)
    put(tmp_path, "file", "new", force=True)
    assert stat.S_IMODE((tmp_path / "out.h5").stat().st_mode) == 0o640


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "thesis.tex").write_text("precious")
    with pytest.raises(UsageError, match="something else"):
        put(tmp_path, "folder", "new", force=True)
    assert files(tmp_path) == {"model/thesis.tex": "precious"}


class TestRefusedPlaces:
    @pytest.mark.parametrize("force", [False, True])
    def test_no_folder(self, tmp_path: Path, force: bool) -> None:
        (tmp_path / "file").write_text("x")
        for path in ("missing/out.h5", "missing/deeper/out.h5", "file/out.h5"):
            with pytest.raises(CkptkitError), staged(address(str(tmp_path / path)), force=force, inputs=()):
                pytest.fail("entered")
        assert files(tmp_path) == {"file": "x"}

    @pytest.mark.parametrize("name", ["", ".", "..", "a\0b", "x" * 300])
    def test_no_name(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(CkptkitError), staged(address(f"{tmp_path}/{name}"), force=True, inputs=()):
            pytest.fail("entered")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("force", [False, True])
    def test_a_folder_a_fifo_a_device(self, tmp_path: Path, force: bool) -> None:
        (tmp_path / "folder").mkdir()
        os.mkfifo(tmp_path / "fifo")
        for path in (tmp_path / "folder", tmp_path / "fifo", Path("/dev/null")):
            with (
                pytest.raises(UsageError, match=r"a folder|a FIFO"),
                staged(address(str(path)), force=force, inputs=()),
            ):
                pytest.fail("entered")

    def test_not_writable(self, tmp_path: Path) -> None:
        if os.geteuid() == 0:
            pytest.skip("root may write everywhere")
        tmp_path.chmod(0o500)
        with pytest.raises(WriteError, match="permit"):
            put(tmp_path, "file", "new")
        tmp_path.chmod(0o700)


def test_two_writers_leave_one_complete_result(tmp_path: Path) -> None:
    for kind in KINDS:
        folder = tmp_path / kind
        folder.mkdir()
        barrier = threading.Barrier(4)
        refused: list[str] = []

        def work(text: str, kind: Kind = kind, folder: Path = folder) -> None:
            try:
                with staged_here(
                    address(str(folder / NAMES[kind])), force=False, inputs=(), made_of=MADE_OF[kind]
                ) as path:
                    write(path, kind, text, final=folder / NAMES[kind])
                    barrier.wait(5)
            except UsageError:
                refused.append(text)

        threads = [threading.Thread(target=work, args=(text,)) for text in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(files(folder).values())) == 1
        assert len(refused) == 3


@pytest.fixture
def arrays(tmp_path: Path) -> str:
    """An npz archive of 8 MB."""
    path = tmp_path / "in.npz"
    np.savez(path, **{f"v{number}": np.arange(500_000.0) + number for number in range(2)})
    return str(path)


@pytest.mark.parametrize("kind", ["safetensors", "npz"])
def test_a_file_size_limit_is_an_error_of_ours(tmp_path: Path, arrays: str, kind: str) -> None:
    contents, source = open_contents(arrays)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    out = tmp_path / "o"
    out.mkdir()
    try:
        for limit in (0, 100, 1 << 20, 7 << 20):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
            with (
                pytest.raises(WriteError, match="file too large"),
                staged(address(str(out / "x")), force=False, inputs=(address(arrays),)) as path,
            ):
                write_new(kind, path, contents, source)
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            assert list(out.iterdir()) == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
        source.close()


class TestReadBack:
    @pytest.mark.parametrize("kind", ["safetensors", "npz"])
    def test_what_was_written_is_compared(self, tmp_path: Path, arrays: str, kind: str) -> None:
        contents, source = open_contents(arrays)
        recorder = Recorder(source)
        path = str(tmp_path / "out")
        write_new(kind, path, contents, recorder)
        assert recorder.digests.keys() == {"v0", "v1"}
        verify_written(open_contents(path), path, recorder.digests)
        data = bytearray(Path(path).read_bytes())
        data[len(data) // 2] ^= 1
        Path(path).write_bytes(data)
        with pytest.raises(CkptkitError):
            verify_written(open_contents(path), path, recorder.digests)
        source.close()

    def test_a_tensor_that_is_missing(self, tmp_path: Path, arrays: str) -> None:
        _, source = open_contents(arrays)
        recorder = Recorder(source)
        list(recorder.stream("v0", memoryview(bytearray(1 << 20))))
        source.close()
        np.savez(tmp_path / "other.npz", v1=np.arange(3.0))
        with pytest.raises(WriteError, match="lacks"):
            verify_written(open_contents(tmp_path / "other.npz"), "other.npz", recorder.digests)

    def test_strings_and_their_borders(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", s=np.array([b"ab", b"c"]))
        np.savez(tmp_path / "b.npz", s=np.array([b"a", b"bc"]))
        _, source = open_contents(str(tmp_path / "a.npz"))
        recorder = Recorder(source)
        assert recorder.read_strings("s") == [b"ab", b"c"]
        source.close()
        verify_written(open_contents(tmp_path / "a.npz"), "a.npz", recorder.digests)
        with pytest.raises(WriteError, match="something else"):
            verify_written(open_contents(tmp_path / "b.npz"), "b.npz", recorder.digests)


_KILLED = """
import sys
from ckptkit.formats.registry import named
from ckptkit.output.staging import staged_here
from ckptkit.storage.address import address
folder, kind, force = sys.argv[1:]
name = {"file": "out.h5", "bundle": "ckpt", "folder": "model"}[kind]
made_of = named({"file": "keras-h5", "bundle": "tensor-bundle", "folder": "saved-model"}[kind]).made_of
with staged_here(address(f"{folder}/{name}"), force=force == "1", inputs=(), made_of=made_of) as path:
    if kind == "file":
        open(path, "w").write("new")
    elif kind == "folder":
        import os
        os.makedirs(path + "/variables")
        for part in ("saved_model.pb", "variables/variables.index"):
            open(f"{path}/{part}", "w").write("new")
    else:
        count = made_of.free_count(address(f"{folder}/{name}"))
        for number in range(count):
            open(f"{path}.data-{number:05}-of-{count:05}", "w").write("new")
        open(path + ".index", "w").write("new")
"""


def _visible(folder: Path, kind: Kind) -> set[str]:
    """The texts of what a reader of the output sees: files that its index does not name are no part of it."""
    found = {name: text for name, text in files(folder).items() if not name.startswith(".")}
    if kind != "bundle":
        return set(found.values())
    index = found.get("ckpt.index")
    if index is None:
        return set()
    shards = {name[-5:] for name, text in found.items() if ".data-" in name and text == index}
    assert any(
        all(f"ckpt.data-{number:05}-of-{count}" in found for number in range(int(count))) for count in shards
    )  # fmt: skip
    return {index}


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("kind", ["file", "folder", "bundle"])
def test_a_kill_at_any_call_leaves_the_old_or_the_new(tmp_path: Path, kind: Kind, force: bool) -> None:
    strace = next((path for path in ("/usr/bin/strace", "/bin/strace") if os.access(path, os.X_OK)), None)
    if strace is None:
        pytest.skip("strace is not installed")
    calls = "fsync,rename,renameat2,link,linkat,unlink,unlinkat,mkdir"
    script = tmp_path / "writer.py"
    script.write_text(_KILLED)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = False
    seen: set[frozenset[str]] = set()
    for number in range(1, 40):
        folder = tmp_path / str(number)
        folder.mkdir()
        if force:
            put(folder, kind, "old")
        result = subprocess.run(
            [strace, "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e",
             f"inject={calls}:signal=KILL:when={number}", sys.executable, "-S", str(script), str(folder), kind,
             str(int(force))],
            env=environment, capture_output=True, check=False,
        )  # fmt: skip
        seen.add(frozenset(_visible(folder, kind)))
        if result.returncode == 0:
            done = True
            break
    if not done and number == 39:
        pytest.skip("strace may not trace here")
    assert seen == {frozenset({"old"} if force else set()), frozenset({"new"})}
