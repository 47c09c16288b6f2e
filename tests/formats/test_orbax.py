"""Orbax: the library writes what we read, in every way it can."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import ckptkit
from ckptkit.errors import CkptkitError, FormatError
from ckptkit.formats import open_contents
from ckptkit.formats.locate import locate
from ckptkit.model import read_tensor
from tests.arrays import canonical_name
from tests.conftest import FIXTURES
from tests.formats.conformance import FormatConformance, Tensors, counted, raw, whole
from tests.formats.ocdbt_files import tree as metadata_of

DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "bfloat16", "float8_e4m3fn", "float8_e5m2", "complex64", "complex128",
)  # fmt: skip

Tree = dict[str, Any]


def save(path: Path, tree: Tree, **settings: Any) -> str:
    """Write `tree` by Orbax; `chunk_bytes` cuts its arrays."""
    ocp = pytest.importorskip("orbax.checkpoint")
    jax = pytest.importorskip("jax")
    size = settings.pop("chunk_bytes", None)
    arguments = ocp.args.PyTreeSave(tree, save_args=jax.tree.map(lambda _: ocp.SaveArgs(chunk_byte_size=size), tree))
    ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**settings)).save(path.resolve(), args=arguments, force=True)
    return str(path)


class OrbaxConformance(FormatConformance):
    """What holds whatever the arrays lie in."""

    format = "orbax"
    dtypes = DTYPES
    odd_names = ("ünï 名", "a b", "[bold]x[/bold]", "dot.ted")
    settings: ClassVar[dict[str, Any]]

    def make(self, folder: Path, tensors: Tensors) -> str:
        return save(folder / "tree", dict(tensors), **self.settings)

    def data_file(self, path: str) -> Path:
        if self.settings["use_ocdbt"]:
            return max(Path(path).glob("**/d/*"), key=lambda file: file.stat().st_size)
        return next(file for file in Path(path).glob("second/**/*0*") if file.is_file())

    def test_scalars_and_empty_tensors(self, tmp_path: Path) -> None:  # Orbax itself writes no empty array
        tensors = {"scalar": counted((), start=3), "one": counted((1, 1, 1))}
        contents, source = self._open(tmp_path, tensors)
        assert {tensor.key: tensor.shape for tensor in contents.tensors} == {"scalar": (), "one": (1, 1, 1)}
        for name, value in tensors.items():
            assert whole(source, name) == raw(value)
        source.close()


class TestOcdbt(OrbaxConformance):
    settings: ClassVar[dict[str, Any]] = {"use_ocdbt": True, "use_zarr3": False}


class TestOcdbtZarr3(OrbaxConformance):
    settings: ClassVar[dict[str, Any]] = {"use_ocdbt": True, "use_zarr3": True, "chunk_bytes": 32}


class TestPlain(OrbaxConformance):
    settings: ClassVar[dict[str, Any]] = {"use_ocdbt": False, "use_zarr3": False}


class TestPlainZarr3(OrbaxConformance):
    settings: ClassVar[dict[str, Any]] = {"use_ocdbt": False, "use_zarr3": True, "chunk_bytes": 32}


@pytest.mark.parametrize("use_ocdbt", [True, False])
def test_arrays_over_many_devices_are_put_together(tmp_path: Path, use_ocdbt: bool) -> None:
    pytest.importorskip("orbax.checkpoint")
    script = f"""
import jax, numpy as np, orbax.checkpoint as ocp
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("x", "y"))
tree = {{}}
for name, spec in dict(rows=P("x"), columns=P(None, "x"), both=P("x", "y"), swapped=P("y", "x"), whole=P()).items():
    value = np.arange(8 * 12, dtype="f4").reshape(8, 12)
    tree[name] = jax.device_put(value, NamedSharding(mesh, spec))
handler = ocp.PyTreeCheckpointHandler(use_ocdbt={use_ocdbt})
ocp.Checkpointer(handler).save({str(tmp_path / "a")!r}, args=ocp.args.PyTreeSave(tree))
"""
    _run(script)
    contents, source = open_contents(tmp_path / "a")
    expected = np.arange(8 * 12, dtype="f4").reshape(8, 12)
    assert len(contents.tensors) == 5
    for tensor in contents.tensors:
        assert np.array_equal(read_tensor(source, tensor), expected), tensor.key
        for pieces in (4, 20, 4096):
            assert whole(source, tensor.key, pieces) == expected.tobytes()
    source.close()


@pytest.mark.parametrize("zarr3", [False, True])
def test_what_two_processes_wrote_is_one_tree(tmp_path: Path, zarr3: bool) -> None:
    pytest.importorskip("orbax.checkpoint")
    import socket
    from concurrent.futures import ThreadPoolExecutor

    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    script = f"""
import jax
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize("localhost:{port}", 2, RANK)
import numpy as np, orbax.checkpoint as ocp
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
mesh = Mesh(np.array(jax.devices()).reshape(2, 8), ("x", "y"))
value = np.arange(16 * 600, dtype="f4").reshape(16, 600)
tree = {{
    name: jax.make_array_from_callback(value.shape, NamedSharding(mesh, spec), lambda index: value[index])
    for name, spec in dict(rows=P("x"), columns=P(None, "y"), both=P("x", "y"), whole=P()).items()
}}
handler = ocp.PyTreeCheckpointHandler(use_ocdbt=True, use_zarr3={zarr3})
ocp.Checkpointer(handler).save({str(tmp_path / "a")!r}, args=ocp.args.PyTreeSave(tree))
"""
    with ThreadPoolExecutor(2) as both:
        list(both.map(_run, (script.replace("RANK", str(rank)) for rank in range(2))))
    assert (tmp_path / "a" / "ocdbt.process_1").is_dir()
    with ckptkit.open(tmp_path / "a") as checkpoint:
        assert len(checkpoint) == 4
        for variable in checkpoint.values():
            assert np.array_equal(variable.read(), np.arange(16 * 600, dtype="f4").reshape(16, 600))


def _run(script: str) -> None:
    import os
    import subprocess
    import sys

    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr


_BYTES, _SWAPPED = {"name": "bytes"}, {"name": "transpose", "configuration": {"order": [1, 0]}}
_V2: dict[str, dict[str, Any]] = {
    "blosc": {"compressor": {"id": "blosc", "cname": "lz4", "shuffle": 1, "clevel": 5}},
    "gzip": {"compressor": {"id": "gzip", "level": 1}},
    "zlib": {"compressor": {"id": "zlib", "level": 1}}, "none": {"compressor": None},
    "fortran": {"compressor": {"id": "zstd", "level": 1}, "order": "F"}, "big_endian": {"compressor": None, "dtype": ">f4"},
}  # fmt: skip
_V3: dict[str, list[dict[str, Any]]] = {
    "chain": [
        _SWAPPED, {"name": "bytes", "configuration": {"endian": "big"}}, {"name": "gzip", "configuration": {"level": 3}},
        {"name": "crc32c"},
    ],
    "blosc3": [
        _BYTES,
        {
            "name": "blosc",
            "configuration": {"cname": "zstd", "clevel": 3, "shuffle": "shuffle", "typesize": 4, "blocksize": 0},
        },
    ],
    "shards": [{
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [5, 7],
            "codecs": [_SWAPPED, _BYTES, {"name": "zstd", "configuration": {"level": 1}}, {"name": "crc32c"}],
            "index_codecs": [_BYTES, {"name": "crc32c"}], "index_location": "start",
        },
    }],
}  # fmt: skip


@pytest.mark.parametrize("name", [*_V2, *_V3])
def test_every_way_of_packing_that_is_read(tmp_path: Path, name: str) -> None:
    tensorstore = pytest.importorskip("tensorstore")
    value = np.random.default_rng(0).normal(size=(50, 60)).astype("f4")
    chunk = [25, 35] if name == "shards" else [17, 23]
    if name in _V2:
        metadata = {"shape": [50, 60], "chunks": chunk, "dtype": "<f4", "dimension_separator": ".", **_V2[name]}
    else:
        grid = {"name": "regular", "configuration": {"chunk_shape": chunk}}
        metadata = {"shape": [50, 60], "data_type": "float32", "chunk_grid": grid, "codecs": _V3[name]}
    spec = {"driver": "zarr" if name in _V2 else "zarr3", "kvstore": f"file://{tmp_path}/w/", "metadata": metadata}
    tensorstore.open({**spec, "create": True}).result().write(value).result()
    (tmp_path / "_METADATA").write_text(metadata_of("w", use_ocdbt=False))
    contents, source = open_contents(tmp_path)
    assert contents.damage == ()
    assert whole(source, "w", 1000) == value.tobytes()
    source.close()
    file = max((each for each in (tmp_path / "w").rglob("*") if each.is_file()), key=lambda each: each.stat().st_size)
    data = file.read_bytes()
    for cut in (0, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:cut])
        with pytest.raises(CkptkitError):
            whole(open_contents(tmp_path)[1], "w")


# --------------------------------------------------------------------------------------------------------------- finding

RUN = FIXTURES / "orbax-keras-run" / "run"
TREE = FIXTURES / "orbax-tree" / "step"
PLAIN = FIXTURES / "orbax-plain" / "state"


def copied(tmp_path: Path, path: Path = TREE) -> Path:
    shutil.copytree(path, tmp_path / "copy")
    return tmp_path / "copy"


def test_of_a_run_the_newest_step_is_taken_and_said() -> None:
    found = locate(RUN)
    assert found.at.base == "1"
    assert found.notes == ("newest of 2 steps: 1",)
    with ckptkit.open(RUN) as newest, ckptkit.open(RUN / "1") as named, ckptkit.open(RUN / "1" / "pytree") as item:
        assert newest.spec.variables == named.spec.variables == item.spec.variables
        assert "newest of 2 steps: 1" in newest.spec.notes
        assert named.spec.notes == ()


def test_steps_go_by_their_numbers(tmp_path: Path) -> None:
    for name in ("ckpt_9", "ckpt_10", "ckpt_2"):
        shutil.copytree(TREE, tmp_path / name)
    assert locate(tmp_path).at.base == "ckpt_10"


@pytest.mark.parametrize("name", ["2.orbax-checkpoint-tmp", "2.orbax-checkpoint-tmp-1796053485827412"])
def test_a_step_under_a_temporary_name_is_left_out(tmp_path: Path, name: str) -> None:
    run = copied(tmp_path, RUN)
    shutil.copytree(run / "1", run / name)
    found = locate(run)
    assert found.at.base == "1"
    assert found.notes[1] == f"left out, not finished: {name}"
    with pytest.raises(FormatError, match="was not finished"):
        open_contents(run / name)


def test_a_step_that_was_not_committed_is_left_out_and_damage_where_it_is_named(tmp_path: Path) -> None:
    run = copied(tmp_path, RUN)
    step = json.loads((run / "1" / "_CHECKPOINT_METADATA").read_text())
    (run / "1" / "_CHECKPOINT_METADATA").write_text(json.dumps({**step, "commit_timestamp_nsecs": None}))
    assert locate(run).at.base == "0"
    assert "left out, not finished: 1" in locate(run).notes
    contents, source = open_contents(run / "1")
    source.close()
    assert "committed" in contents.damage[0]


def test_a_step_without_its_commit_file_is_told_from_one_that_never_has_one(tmp_path: Path) -> None:
    run = copied(tmp_path, RUN)
    (run / "1" / "commit_success.txt").unlink()
    assert locate(run).at.base == "0"
    for file in run.glob("**/commit_success.txt"):
        file.unlink()
    assert locate(run).at.base == "1"


def test_nothing_finished_is_an_error(tmp_path: Path) -> None:
    shutil.copytree(RUN / "1", tmp_path / "run" / "1.orbax-checkpoint-tmp")
    with pytest.raises(FormatError, match="no Orbax checkpoint in the folder was finished"):
        locate(tmp_path / "run")


def test_items_beside_each_other(tmp_path: Path) -> None:
    for name in ("params", "state"):
        shutil.copytree(TREE, tmp_path / "step" / name)
    (tmp_path / "step" / "_CHECKPOINT_METADATA").write_text("{}")
    contents, source = open_contents(tmp_path / "step")
    source.close()
    assert contents.notes == ("item state of 2: params, state",)
    (tmp_path / "step" / "params").rename(tmp_path / "step" / "one")
    (tmp_path / "step" / "state").rename(tmp_path / "step" / "two")
    with pytest.raises(FormatError, match="several items"):
        open_contents(tmp_path / "step")


# -------------------------------------------------------------------------------------------------------------- damage


def test_a_chunk_that_is_missing_is_no_zeros(tmp_path: Path) -> None:
    item = copied(tmp_path, PLAIN)
    chunk = next(file for file in (item / "of_float32" / "c").rglob("*") if file.is_file())
    chunk.unlink()
    contents, source = open_contents(item)
    problems = {tensor.key: tensor.problem for tensor in contents.tensors if tensor.problem}
    assert problems.keys() == {"of_float32"}
    assert "missing" in problems["of_float32"]
    assert contents.damage == (f"of_float32: {problems['of_float32']}",)
    with pytest.raises(CkptkitError, match="missing"):
        whole(source, "of_float32")
    source.close()


def test_a_chunk_that_early_versions_did_not_store_is_its_fill_value(tmp_path: Path) -> None:
    item = copied(tmp_path, PLAIN)
    metadata = json.loads((item / "_METADATA").read_text())
    del metadata["store_array_data_equal_to_fill_value"]
    (item / "_METADATA").write_text(json.dumps(metadata))
    contents, source = open_contents(item)
    before = np.frombuffer(whole(source, "of_float32"), "f4").reshape(6, 5)
    source.close()
    chunks = [file for file in (item / "of_float32" / "c").rglob("*") if file.is_file()]
    for chunk in chunks:
        held = chunk.read_bytes()
        chunk.unlink()
        contents, source = open_contents(item)
        assert contents.damage == ()
        found = np.frombuffer(whole(source, "of_float32"), "f4").reshape(6, 5)
        source.close()
        assert np.array_equal(found[found != 0], before[found != 0])
        assert (found == 0).any()
        chunk.write_bytes(held)


@pytest.mark.parametrize("name", ["_METADATA", "manifest.ocdbt"])
def test_a_step_without_a_part_of_it(tmp_path: Path, name: str) -> None:
    item = copied(tmp_path)
    (item / name).unlink()
    if name == "_METADATA":  # early versions have none: names are all that is left
        contents, source = open_contents(item)
        source.close()
        assert "params/Dense_0/kernel" in {tensor.key for tensor in contents.tensors}
        return
    with pytest.raises(FormatError, match="the index of the arrays is missing"):
        open_contents(item)


def test_an_array_that_the_tree_has_and_the_store_has_not(tmp_path: Path) -> None:
    item = copied(tmp_path, PLAIN)
    shutil.rmtree(item / "scalar")
    contents, source = open_contents(item)
    source.close()
    assert contents.damage == ("scalar: its array is not in the store",)


def test_cut_and_missing_data_files(tmp_path: Path) -> None:
    item = copied(tmp_path)
    for file in sorted(item.glob("**/d/*")):
        held = file.read_bytes()
        for length in (0, 1, len(held) // 2, len(held) - 1):
            file.write_bytes(held[:length])
            _refuses(item)
        file.unlink()
        _refuses(item)
        file.write_bytes(held)


def _refuses(item: Path) -> None:
    """Opening raises, or names damage; what does read is what was there."""
    try:
        contents, source = open_contents(item)
    except CkptkitError as error:
        assert len(str(error).splitlines()) == 1
        return
    assert contents.damage or not any(tensor.problem for tensor in contents.tensors)
    expected = {line["key"]: line for line in json.loads((TREE.parent / "expected.json").read_text())["variables"]}
    import hashlib

    for tensor in contents.tensors:
        if tensor.dtype == "string":
            continue
        try:
            data = whole(source, tensor.key)
        except CkptkitError:
            continue
        assert hashlib.sha256(data).hexdigest() == expected[tensor.key]["sha256"]
    source.close()


# -------------------------------------------------------------------------------------------------------------- writing


def restored(path: Path) -> dict[str, Any]:
    """Every leaf of an item, by Orbax, under its keys joined by `/`."""
    ocp = pytest.importorskip("orbax.checkpoint")
    found: dict[str, Any] = {}

    def walk(tree: Any, at: tuple[str, ...]) -> None:
        if isinstance(tree, dict | list | tuple):
            for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
                walk(value, (*at, str(key)))
        elif tree is not None:
            found["/".join(at)] = tree

    walk(ocp.PyTreeCheckpointer().restore(path.resolve()), ())
    return found


def same_leaves(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        one, other = np.asarray(found[key]), np.asarray(value)
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes()), key


@pytest.mark.parametrize("rows", [1, 3, 1000])
@pytest.mark.parametrize("zarr3", [False, True])
@pytest.mark.parametrize("indexed", [False, True])
def test_every_shape_cut_in_every_way_reads_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, zarr3: bool, indexed: bool
) -> None:
    from ckptkit.formats.orbax import encode
    from ckptkit.formats.orbax.put import Folders, Indexed, put_array
    from ckptkit.model import TensorSpec

    monkeypatch.setattr(encode, "CHUNK_BYTES", rows * 20)
    tensors = {
        f"a{number}": counted(shape, dtype)
        for number, (shape, dtype) in enumerate(
            [((), "float32"), ((7,), "float64"), ((5, 4), "float32"), ((1, 6, 5), "int16"), ((3, 5, 7), "bfloat16"),
             ((2, 1, 9), "complex64"), ((4, 1), "bool"), ((1, 1), "uint8"), ((2, 3, 2, 5), "float16")]
        )
    }  # fmt: skip
    values = (Indexed if indexed else Folders)(tmp_path)
    for name, value in tensors.items():
        spec = TensorSpec(name, value.shape, canonical_name(value.dtype))
        put_array(values, [name], spec, _Held(tensors), zarr3=zarr3)
    values.finish()
    (tmp_path / "_METADATA").write_text(
        json.dumps({
            "tree_metadata": {name: {"key_metadata": [{"key": name}], "value_metadata": {}} for name in tensors},
            "use_ocdbt": indexed, "use_zarr3": zarr3, "store_array_data_equal_to_fill_value": True,
        })
    )  # fmt: skip
    contents, source = open_contents(tmp_path)
    assert contents.damage == ()
    for tensor in contents.tensors:
        assert (tensor.shape, tensor.problem) == (tensors[tensor.key].shape, None)
        assert whole(source, tensor.key, 16) == raw(tensors[tensor.key])
    source.close()
    tensorstore = pytest.importorskip("tensorstore")
    for name, value in tensors.items():
        store = (
            {"driver": "ocdbt", "base": f"file://{tmp_path}/", "path": f"{name}/"}
            if indexed
            else f"file://{tmp_path}/{name}/"
        )
        array = tensorstore.open({"driver": "zarr3" if zarr3 else "zarr", "kvstore": store}).result()
        assert array.read().result().tobytes() == value.tobytes()


class _Held:
    """Tensors in memory, streamed in odd pieces."""

    def __init__(self, tensors: dict[str, np.ndarray]) -> None:
        self._tensors = tensors

    def stream(self, key: str, buffer: memoryview) -> Any:
        data = raw(self._tensors[key])
        for at in range(0, len(data), 7):
            piece = buffer[: len(data[at : at + 7])]
            piece[:] = data[at : at + 7]
            yield piece


@pytest.mark.parametrize("path", [TREE, PLAIN, RUN / "1" / "pytree"])
def test_a_copy_is_restored_by_orbax(tmp_path: Path, path: Path) -> None:
    ckptkit.convert(path, tmp_path / "copy", to="orbax")
    inside = tmp_path / "copy" / "0" / "pytree" if path.name == "pytree" else tmp_path / "copy"
    same_leaves(restored(inside), restored(path))
    ckptkit.remap(path, like=path, output=tmp_path / "like")
    inside = tmp_path / "like" / "0" / "pytree" if path.name == "pytree" else tmp_path / "like"
    same_leaves(restored(inside), restored(path))


def test_a_template_keeps_all_but_the_weights(tmp_path: Path) -> None:
    contents, source = open_contents(TREE)
    weights = [tensor for tensor in contents.tensors if tensor.key.startswith(("params", "batch_stats"))]
    np.savez(tmp_path / "other.npz", **{each.key.partition("/")[2]: read_tensor(source, each) + 1 for each in weights})
    source.close()
    ckptkit.remap(tmp_path / "other.npz", like=TREE, output=tmp_path / "out")
    assert json.loads((tmp_path / "out" / "_strings.json").read_text()) == {"note": "ünï"}
    with ckptkit.open(TREE) as old, ckptkit.open(tmp_path / "out") as new:
        assert [each.key for each in new.spec.variables] == [each.key for each in old.spec.variables]
        for variable in old.spec.variables:
            moved = 1 if variable.kind == "weight" else 0
            if variable.dtype != "string":
                assert np.array_equal(new[variable.name].read(), old[variable.name].read() + moved), variable.name


def test_a_run_that_keras_loads(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    pytest.importorskip("orbax.checkpoint")
    ckptkit.convert(RUN, tmp_path / "run", to="orbax")
    ckptkit.remap(RUN, like=RUN, output=tmp_path / "like")
    (tmp_path / "steps").mkdir()
    ckptkit.remap(RUN, like=RUN, output=tmp_path / "steps" / "7")
    inputs = None
    expected = None
    for path in (RUN, tmp_path / "run", tmp_path / "like", tmp_path / "steps"):
        model = keras.models.load_model(path)
        if inputs is None:
            inputs = np.random.default_rng(3).normal(size=(4, *model.input_shape[1:])).astype("f4")
        found = np.asarray(model(inputs))
        expected = found if expected is None else expected
        assert np.array_equal(found, expected), path
        assert int(model.optimizer.iterations) == 2


def test_an_archive_moves_into_a_run(tmp_path: Path) -> None:
    archive = FIXTURES / "keras3-mlp-archive" / "model.keras"
    ckptkit.remap(archive, like=RUN, output=tmp_path / "out")
    assert ckptkit.diff(archive, tmp_path / "out").verdict == "identical"


def test_order_and_slots_survive_the_way_there_and_back(tmp_path: Path) -> None:
    archive = FIXTURES / "keras3-mlp-archive" / "model.keras"
    for to in ("there", "there.msgpack"):
        ckptkit.convert(archive, tmp_path / to, to="orbax" if to == "there" else None)
        with ckptkit.open(archive) as old, ckptkit.open(tmp_path / to) as new:
            weights = {each.name for each in old.spec.variables if each.kind == "weight"}
            assert {each.name for each in new.spec.variables if each.kind == "weight"} == weights
            slots = {(each.slot_of, each.shape) for each in old.spec.variables if each.kind == "slot"}
            assert {(each.slot_of, each.shape) for each in new.spec.variables if each.kind == "slot"} == slots
            if to == "there":
                assert [layer.name for layer in new.layers] == [layer.name for layer in old.layers]
                assert new.order_source == "config"


def test_an_output_that_holds_an_input_is_refused(tmp_path: Path) -> None:
    shutil.copytree(RUN / "1", tmp_path / "run" / "1")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ckptkit.CkptkitError, match="holds an input"):
        ckptkit.convert(tmp_path / "run", tmp_path / "run", to="orbax", force=True)
    shutil.copytree(TREE, tmp_path / "run" / "mine")
    with pytest.raises(ckptkit.CkptkitError, match="something else"):
        ckptkit.convert(TREE, tmp_path / "run", to="orbax", force=True)
    shutil.rmtree(tmp_path / "run" / "mine")
    assert sorted(tmp_path.rglob("*")) == before


def test_force_replaces_what_was_written(tmp_path: Path) -> None:
    for path in (RUN, TREE):
        out = tmp_path / path.name
        ckptkit.convert(path, out, to="orbax")
        with pytest.raises(ckptkit.CkptkitError, match="exists already"):
            ckptkit.convert(path, out, to="orbax")
        ckptkit.convert(path, out, to="orbax", force=True)
        assert ckptkit.diff(path, out).verdict == "identical"


def test_what_orbax_cannot_hold_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"a/kernel": np.zeros((0, 3), "f4")})
    with pytest.raises(ckptkit.CkptkitError, match="without elements"):
        ckptkit.convert(tmp_path / "a.npz", tmp_path / "out", to="orbax")
    assert not (tmp_path / "out").exists()


def test_drift_over_the_steps_of_a_run() -> None:
    found = ckptkit.drift(RUN)
    assert len(found.checkpoints) == 2
    assert {each.verdict for each in found.variables if each.kind == "weight"} <= {"moving", "frozen"}
