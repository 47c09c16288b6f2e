"""`git diff` of checkpoints in a real repository."""

from __future__ import annotations

import hashlib
import shutil
import zipfile

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file


@pytest.fixture
def models(repository, fixtures):
    """One checkpoint of each format, committed; some in a folder with a space in its name."""
    folder = repository.folder / "some models"
    folder.mkdir()
    shutil.copy(fixtures / "single-h5/single.h5", folder / "a b.h5")
    shutil.copy(next((fixtures / "keras3-mlp-archive").glob("*.keras")), folder / "model.keras")
    for file in (fixtures / "keras3-mlp-checkpoint").glob("ckpt-1.*"):
        shutil.copy(file, repository.folder)
    save_file({"x/kernel": np.arange(6, dtype="f").reshape(2, 3), "y/bias": np.ones(4, "f")}, folder / "s.safetensors")
    repository.ckptkit("git", "install")
    repository.commit("first")
    return repository


def scale(path, key, factor=2) -> None:
    with h5py.File(path, "r+") as file:
        file[key][...] *= factor


def test_a_changed_weight_is_one_line(models) -> None:
    assert models.changes() == []
    scale(models.folder / "some models/a b.h5", "model_weights/dense_1/dense_1/bias:0")
    removed, added = models.changes()
    assert removed.startswith("-dense_1/bias  [5]  float32  sha256 ")
    assert added.startswith("+dense_1/bias  [5]  float32  sha256 ")
    assert models.changes(cwd=models.folder / "some models") == [removed, added]
    models.commit("second")
    for command in (("log", "-p", "-1"), ("show",), ("diff", "HEAD~1")):
        shown = models.git(*command)
        assert removed in shown
        assert added in shown
        assert "dense_1/kernel" in shown  # context
    # The versions now come out of git's own copies of the texts.
    assert models.git("rev-parse", "refs/notes/textconv/ckptkit")
    assert models.changes("HEAD~1") == [removed, added]


def test_a_renamed_layer_shows_by_name(models) -> None:
    path = models.folder / "some models/s.safetensors"
    save_file({"x/kernel": np.arange(6, dtype="f").reshape(2, 3), "z/bias": np.ones(4, "f")}, path)
    digest = "sha256 " + hashlib.sha256(np.ones(4, "<f4").tobytes()).hexdigest()[:32]
    assert models.changes() == [
        "-layer y", "+layer z", f"-y/bias  [4]  float32  {digest}", f"+z/bias  [4]  float32  {digest}"
    ]  # fmt: skip


def test_the_same_contents_written_otherwise_show_nothing(models, fixtures) -> None:
    path = models.folder / "some models/model.keras"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["metadata.json"] = members["metadata.json"].replace(b'"date_saved": "2', b'"date_saved": "1')
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(members, reverse=True):
            archive.writestr(name, members[name])
    save_file(
        {"y/bias": np.ones(4, "f"), "x/kernel": np.arange(6, dtype="f").reshape(2, 3)},
        models.folder / "some models/s.safetensors",
        metadata={"note": "another"},
    )
    assert "model.keras" in models.git("status", "--short")
    assert models.changes() == []


def test_another_activation_shows_although_no_weight_changed(models) -> None:
    path = models.folder / "some models/a b.h5"
    with h5py.File(path, "r+") as file:
        config = file.attrs["model_config"]
        config = config if isinstance(config, str) else config.decode()
        file.attrs["model_config"] = config.replace('"activation": "relu"', '"activation": "tanh"')
    changed = models.changes()
    assert sorted(line.split()[0] for line in changed) == [
        "+architecture",
        "+layer",
        "+layer",
        "-architecture",
        "-layer",
        "-layer",
    ]
    assert {line.split()[1] for line in changed if "layer" in line} == {"dense", "dense_1"}


def test_an_index_is_listed_without_its_data(models, fixtures) -> None:
    text = models.ckptkit("git", "textconv", "ckpt-1.index")
    data = models.folder / "ckpt-1.data-00000-of-00001"
    data.unlink()
    elsewhere = models.folder / "renamed.index"
    (models.folder / "ckpt-1.index").rename(elsewhere)
    assert models.ckptkit("git", "textconv", elsewhere) == text
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(fixtures / "keras3-mlp-checkpoint/ckpt-1"))
    lines = [line.split("  ") for line in text.splitlines() if "crc32c" in line]
    assert len(lines) == len(reader.get_variable_to_shape_map())
    from crc32c import crc32c

    kernel = next(line for line in lines if line[0] == "model/_operations/1/kernel")
    value = reader.get_tensor("model/_operations/1/_kernel/.ATTRIBUTES/VARIABLE_VALUE")
    assert kernel[1:] == [str(list(value.shape)), "float32", f"crc32c {crc32c(value.tobytes()):08x}"]


def test_a_bundle_that_was_trained_on_shows_what_moved(models, fixtures) -> None:
    import tensorflow as tf

    path = str(models.folder / "weights")
    first, second = tf.Variable([1.0, 2.0]), tf.Variable([[3.0]])
    checkpoint = tf.train.Checkpoint(first=first, second=second)
    checkpoint.write(path)
    models.commit()
    first.assign([1.0, 5.0])
    checkpoint.write(path)
    # The data file differs too: it is not one of the driver's, and git says so.
    assert [line.split()[0] for line in models.changes("--", "*.index")] == ["-first", "+first"]


def test_a_damaged_file_hides_no_other(models) -> None:
    scale(models.folder / "some models/a b.h5", "model_weights/dense/dense/bias:0", 3)
    path = models.folder / "some models/model.keras"
    path.write_bytes(path.read_bytes()[:500])
    changed = models.changes()
    assert any(line.startswith("+unreadable: ") for line in changed)
    assert any(line.startswith("+500 bytes  sha256 ") for line in changed)
    assert any(line.startswith("+dense/bias  ") for line in changed)
    assert "git-blob" not in models.git("diff")  # no name of a temporary file
    path.write_bytes(b"")
    assert "+unreadable: the file is empty" in models.changes()


def test_pointers_and_texts_are_shown_as_what_they_are(models) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 5\n"
    (models.folder / "big.h5").write_text(pointer.format("a" * 64))
    (models.folder / "book.index").write_text("apple 1\n\tpear \x1b[31m2\n")
    models.commit()
    (models.folder / "big.h5").write_text(pointer.format("b" * 64))
    (models.folder / "book.index").write_text("apple 1\n\tpear \x1b[31m3\n")
    assert models.changes() == [
        "-oid sha256:" + "a" * 64, "+oid sha256:" + "b" * 64, "-\tpear \\x1b[31m2", "+\tpear \\x1b[31m3"
    ]  # fmt: skip
    assert "unreadable: not a checkpoint that is read here: found a git-lfs pointer" in models.git("diff")


def test_names_from_files_never_reach_the_terminal_raw(models) -> None:
    path = models.folder / "evil\x1b[2J\u202e.safetensors"
    save_file({"a\x1b[31m\nfaked  [1]": np.ones(2, "f")}, path)
    text = models.ckptkit("git", "textconv", path)
    assert "\\x1b[31m\\x0afaked" in text
    assert "\x1b" not in text
    shown = models.ckptkit("git", "difftool", "/dev/null", path, path.name, code=1)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "added" in shown


def test_difftool_gives_the_verdict_under_the_files_name(models) -> None:
    scale(models.folder / "some models/a b.h5", "model_weights/dense/dense/bias:0")
    (models.folder / "some models/s.safetensors").unlink()
    shown = models.git("difftool", "-y", "-t", "ckptkit", "--", "some models")
    assert shown.splitlines()[0] == "some models/a b.h5"
    assert shown.splitlines()[1].startswith("DIFFERENT")
    assert "some models/s.safetensors  deleted" in shown


def test_a_path_that_is_not_there_is_a_slip(models) -> None:
    assert "no such file" in models.ckptkit("git", "textconv", "nowhere.h5", code=2)


def test_a_file_that_is_called_like_an_option(models) -> None:
    path = models.folder / "--version.h5"
    shutil.copy(models.folder / "some models/a b.h5", path)
    models.commit()
    scale(path, "model_weights/dense/dense/bias:0")
    assert [line.split()[0] for line in models.changes()] == ["-dense/bias", "+dense/bias"]
    assert "DIFFERENT" in models.git("difftool", "-y", "-t", "ckptkit")


def test_difftool_says_why_a_lone_index_is_not_compared(models, fixtures) -> None:
    shutil.copy(fixtures / "tf-keras-mlp-checkpoint/weights.index", models.folder / "ckpt-1.index")
    shown = models.git("difftool", "-y", "-t", "ckptkit", "--", "*.index")
    assert "without its data" in shown


def test_worktrees_and_a_repository_elsewhere(models, tmp_path) -> None:
    other = tmp_path / "other tree"
    models.git("worktree", "add", "--quiet", "-b", "other", other)
    scale(other / "some models/a b.h5", "model_weights/dense/dense/bias:0")
    assert len(models.changes(cwd=other)) == 2
    models.ckptkit("git", "uninstall", cwd=other)
    assert "Binary files" in models.git("diff", cwd=other)
    models.ckptkit("git", "install", cwd=other)
    where = {"GIT_DIR": str(models.folder / ".git"), "GIT_WORK_TREE": str(other)}
    assert len(models.changes("--", "some models/a b.h5", cwd=tmp_path, env=where)) == 2


def test_equal_texts_whatever_the_files_path_and_neighbours(models, tmp_path, fixtures) -> None:
    copy = tmp_path / "copy"
    shutil.copy(fixtures / "single-h5/single.h5", copy)
    shutil.copy(fixtures / "keras3-mlp-checkpoint/ckpt-1.index", tmp_path / "copy.index")
    text = models.ckptkit("git", "textconv", fixtures / "single-h5/single.h5")
    assert models.ckptkit("git", "textconv", copy) == text
    assert "copy" not in text


def test_every_fixture_has_a_text(run_cli, fixtures) -> None:
    for path in [fixtures / "tf-every-dtype", fixtures / "safetensors-dtypes", fixtures / "keras1-theano-model"]:
        for file in path.iterdir():
            done = run_cli("git", "textconv", file)
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout
