"""Setting git up and undoing it."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path

import pytest

from ckptkit.git import block
from ckptkit.git.driver import PATTERNS, program


def state(repository) -> dict[str, bytes]:
    folder = repository.folder / ".git"
    home = Path(repository.env["HOME"])
    files = [folder / "config", folder / "info/attributes", home / ".gitconfig", home / ".config/git/attributes"]
    return {str(file): file.read_bytes() for file in files if file.exists()}


@pytest.mark.parametrize("scope", [(), ("--global",)])
@pytest.mark.parametrize("before", [None, b"*.png -diff\n", b"*.png -diff", b"# r\xe9sum\xe9\r\n*.h5 -text\r\n"])
def test_uninstall_restores_every_byte(repository, scope, before) -> None:
    for path in (repository.folder / ".git/info/attributes", Path(repository.env["HOME"]) / ".config/git/attributes"):
        if before is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(before)
    untouched = state(repository)
    repository.ckptkit("git", "install", *scope)
    installed = state(repository)
    assert installed != untouched
    for pattern in PATTERNS:
        name = pattern.replace("*", "deep/down/x")
        assert repository.git("check-attr", "diff", "--", name) == f"{name}: diff: ckptkit\n"
    assert "already" in repository.ckptkit("git", "install", *scope)
    assert state(repository) == installed
    repository.ckptkit("git", "uninstall", *scope)
    assert state(repository) == untouched
    assert "nothing to remove" in repository.ckptkit("git", "uninstall", *scope)


def test_what_users_write_around_the_block_stays(repository) -> None:
    path = repository.folder / ".git/info/attributes"
    path.write_bytes(b"*.a -diff")
    repository.git("config", "diff.ckptkit.xfuncname", "^layer")
    repository.ckptkit("git", "install")
    path.write_bytes(path.read_bytes() + b"*.z -diff\n")
    repository.ckptkit("git", "uninstall")
    assert path.read_bytes() == b"*.a -diff\n*.z -diff\n"
    assert repository.git("config", "diff.ckptkit.xfuncname") == "^layer\n"


def test_global_serves_every_repository_and_honours_the_file_that_is_configured(make_repository, fixtures) -> None:
    one, two = make_repository("one"), make_repository("two")
    one.ckptkit("git", "install", "--global", cwd=Path(one.env["HOME"]))
    shutil.copy(fixtures / "single-h5/single.h5", two.folder / "m.h5")
    two.git("add", "m.h5")
    assert "+dense/bias  [64]  float32" in two.git("diff", "--cached")
    two.ckptkit("git", "uninstall", "--global")
    two.git("config", "--global", "core.attributesFile", "~/mine")
    two.ckptkit("git", "install", "--global")
    assert "ckptkit" in (Path(two.env["HOME"]) / "mine").read_text()
    elsewhere = {"XDG_CONFIG_HOME": str(two.folder)}
    two.ckptkit("git", "uninstall", "--global")
    two.git("config", "--global", "--unset", "core.attributesFile")
    two.ckptkit("git", "install", "--global", env=elsewhere)
    assert "ckptkit" in (two.folder / "git/attributes").read_text()


def test_a_linked_attributes_file_stays_a_link(repository, tmp_path) -> None:
    target = tmp_path / "dotfiles"
    target.write_text("*.x -diff\n")
    path = Path(repository.env["HOME"]) / ".config/git/attributes"
    path.parent.mkdir(parents=True)
    path.symlink_to(target)
    repository.ckptkit("git", "install", "--global")
    assert path.is_symlink()
    assert "ckptkit" in target.read_text()
    repository.ckptkit("git", "uninstall", "--global")
    assert path.is_symlink()
    assert target.read_text() == "*.x -diff\n"


def test_refused_outside_a_repository_and_without_git(repository, tmp_path) -> None:
    outside = {"GIT_CEILING_DIRECTORIES": str(tmp_path)}
    said = repository.ckptkit("git", "install", cwd=tmp_path, env=outside, code=2)
    assert said == "ckptkit: not inside a git repository. --global sets git up for all repositories\n"
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "sh").symlink_to(shutil.which("sh"))
    script = shutil.which("ckptkit", path=repository.env["PATH"])
    said = repository.run(script, "git", "install", env={"PATH": str(empty)}, code=2)
    assert said == "ckptkit: git is not installed, or not on the PATH\n"


def test_another_driver_is_refused_by_name(repository) -> None:
    (repository.folder / "deep").mkdir()
    (repository.folder / "deep/.gitattributes").write_text("*.h5 diff=hdf\n")
    (repository.folder / "deep/x.h5").write_text("x")
    repository.git("add", "--all")
    repository.ckptkit("git", "install")  # a name without settings does nothing: git-lfs writes one
    repository.ckptkit("git", "uninstall")
    untouched = state(repository)
    repository.git("config", "--global", "diff.hdf.textconv", "h5dump")
    said = repository.ckptkit("git", "install", code=2)
    assert "deep/x.h5: another diff driver is set up for such files: found diff=hdf" in said
    repository.git("config", "--global", "--unset", "diff.hdf.textconv")
    assert state(repository) == untouched
    path = Path(repository.env["HOME"]) / ".config/git/attributes"
    path.parent.mkdir(parents=True)
    path.write_text("*.keras diff=zip\n")
    repository.git("config", "--global", "diff.zip.textconv", "unzip -c -a")
    assert "diff=zip" in repository.ckptkit("git", "install", "--global", code=2)
    assert path.read_text() == "*.keras diff=zip\n"


def test_texts_are_not_kept_where_pointers_could_be(repository) -> None:
    (repository.folder / ".gitattributes").write_text("*.h5 filter=lfs diff=lfs merge=lfs -text\n")
    repository.ckptkit("git", "install")
    assert repository.git("config", "diff.ckptkit.cachetextconv") == "false\n"
    assert repository.git("check-attr", "diff", "x.h5") == "x.h5: diff: ckptkit\n"


def test_installing_again_forgets_kept_texts(repository, fixtures) -> None:
    repository.ckptkit("git", "install")
    shutil.copy(fixtures / "single-h5/single.h5", repository.folder / "m.h5")
    repository.commit()
    repository.git("show")
    reference = "refs/notes/textconv/ckptkit"
    repository.git("show-ref", "--verify", reference)
    repository.ckptkit("git", "install")
    repository.git("show-ref", "--verify", reference, code=128)


def test_the_command_is_one_that_still_works_tomorrow(monkeypatch, tmp_path) -> None:
    scripts = tmp_path / "it's an environment" / "bin"
    scripts.mkdir(parents=True)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(scripts))
    monkeypatch.setattr("sys.prefix", str(scripts.parent))
    monkeypatch.setattr("sys.executable", "/opt/py thon")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program() == "'/opt/py thon' -I -m ckptkit"  # -I: what lies in the working tree is not imported
    script = scripts / "ckptkit"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    quoted = "'" + str(script).replace("'", "'\"'\"'") + "'"
    assert program() == quoted
    monkeypatch.setenv("PATH", str(scripts))  # an activated environment is left again
    assert program() == quoted
    shutil.copy(script, tmp_path / "ckptkit")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program() == "ckptkit"


@pytest.mark.parametrize("text", [b"", b"a\n", b"a", b"a\r\n", b"\n", b"\xff\xfe"])
def test_a_block_leaves_no_trace(text) -> None:
    once = block.with_block(text, ("x", "y"))
    assert b"\nx\ny\n" in once
    assert block.with_block(once, ("x", "y")) == once
    assert block.with_block(block.with_block(text, ("z",)), ("x", "y")) == once
    assert block.without_block(once) == text
    assert block.without_block(once.replace(b"\n", os.linesep.encode())) == text
