"""Vocabularies, tables and settings: found in files of the frameworks, compared, followed by token.

The weights of two models whose vocabularies differ may be equal bit for bit, and their outputs are not: every test that
moves rows runs both models on the same words.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ckptkit
from ckptkit.errors import CkptkitError, RefusedError, UsageError
from tests.conftest import RunCli

Build = Callable[..., Any]
CATS, HENS = ("cat", "dog", "cow"), ("cow", "hen", "cat", "dog", "emu")


def named(path: Path) -> dict[str, Any]:
    """What `inspect` finds, by name; settings left out."""
    return {each.asset.name: each for each in ckptkit.inspect(path).assets if each.asset.kind != "settings"}


class TestWhatIsFound:
    @pytest.mark.parametrize("framework", ["keras", "tf_keras"])
    def test_the_vocabulary_of_an_archive(
        self, framework: str, fw: SimpleNamespace, build: Build, tmp_path: Path
    ) -> None:
        build(CATS, 4, keras=getattr(fw, framework)).save(tmp_path / "a.keras")
        (found,) = named(tmp_path / "a.keras").values()
        with zipfile.ZipFile(tmp_path / "a.keras") as archive:
            data = archive.read("assets/layers/string_lookup/vocabulary.txt")
        assert (found.asset.layer, found.asset.kind, found.asset.nbytes) == ("words", "vocabulary", len(data))
        assert found.sha256 == hashlib.sha256(data).hexdigest()
        assert [row[0] for row in found.entries] == [b"[UNK]", b"cat", b"dog", b"cow"]
        assert found.asset.rows_of == ("table",)

    def test_a_mask_is_the_first_line(self, build: Build, tmp_path: Path) -> None:
        build(CATS, 5, "TextVectorization").save(tmp_path / "a.keras")
        tokens = [
            row[0] for row in named(tmp_path / "a.keras")["assets/layers/text_vectorization/vocabulary.txt"].entries
        ]
        assert tokens == [b"", b"[UNK]", b"cat", b"dog", b"cow"]

    def test_numbers_are_tokens(self, build: Build, tmp_path: Path) -> None:
        build((30, 10, 20), 4, "IntegerLookup").save(tmp_path / "a.keras")
        (found,) = named(tmp_path / "a.keras").values()
        assert [row[0] for row in found.entries] == [b"-1", b"30", b"10", b"20"]

    def test_a_vocabulary_that_the_architecture_holds(self, fw: SimpleNamespace, tmp_path: Path) -> None:
        layers = fw.keras.layers
        inputs = fw.keras.Input((1,), dtype="string")
        lookup = layers.StringLookup(vocabulary=list(CATS), mask_token="-", num_oov_indices=2, name="words")
        fw.keras.Model(inputs, layers.Embedding(6, 2)(lookup(inputs))).save(tmp_path / "a.h5")
        (found,) = named(tmp_path / "a.h5").values()
        assert [row[0].decode() for row in found.entries] == lookup.get_vocabulary()

    @pytest.mark.parametrize("framework", ["keras", "tf_keras"])
    @pytest.mark.parametrize("lookup", ["StringLookup", "TextVectorization"])
    def test_the_table_of_a_saved_model(
        self, framework: str, lookup: str, fw: SimpleNamespace, build: Build, tmp_path: Path
    ) -> None:
        keras = getattr(fw, framework)
        model = build(CATS, 5, lookup, keras=keras)
        fw.tf.saved_model.save(model, str(tmp_path / "a"))
        tables = [each for each in named(tmp_path / "a").values() if each.entries]
        vocabulary = model.get_layer("words").get_vocabulary()
        assert {key.decode(): int(row) for key, row in tables[0].entries} == {
            word: vocabulary.index(word) for word in CATS
        }

    @pytest.mark.parametrize(
        ("keys", "values"), [(["x", "y"], np.array([7, 5], np.int64)), ([30, 10], np.array([0.5, 2.5], np.float32))]
    )
    def test_a_table_of_a_checkpoint_is_carried_whole(
        self, keys: list[Any], values: Any, fw: SimpleNamespace, tmp_path: Path
    ) -> None:
        tf = fw.tf
        kind = tf.string if isinstance(keys[0], str) else tf.int64
        table = tf.lookup.experimental.MutableHashTable(kind, values.dtype, values.dtype.type(0))
        table.insert(tf.constant(keys, kind), tf.constant(values))
        tf.train.Checkpoint(table=table).write(str(tmp_path / "a"))
        (found,) = named(tmp_path / "a").values()
        assert (found.asset.name, len(found.entries)) == ("table", 2)
        ckptkit.convert(tmp_path / "a", tmp_path / "a.npz")
        stored = np.load(tmp_path / "a.npz")
        text = [each.decode() if isinstance(each, bytes) else each for each in stored["table/table-keys"].tolist()]
        assert dict(zip(text, stored["table/table-values"].tolist(), strict=True)) == dict(
            zip(keys, values.tolist(), strict=True)
        )
        assert ckptkit.diff(tmp_path / "a", tmp_path / "a.npz").verdict == "identical"

    def test_a_table_of_nothing_is_none(self, fw: SimpleNamespace, build: Build, tmp_path: Path) -> None:
        fw.tf.train.Checkpoint(model=build(CATS, 4)).write(str(tmp_path / "a"))
        assert named(tmp_path / "a") == {}

    def test_a_damaged_one_is_said_and_nothing_is_concluded(self, build: Build, tmp_path: Path) -> None:
        build(CATS, 4).save(tmp_path / "a.keras")
        data = bytearray((tmp_path / "a.keras").read_bytes())
        at = data.index(b"[UNK]\ncat")
        data[at] ^= 1
        (tmp_path / "b.keras").write_bytes(data)
        (found,) = named(tmp_path / "b.keras").values()
        assert (found.sha256, found.entries) == (None, None)
        assert "checksum" in found.problem
        with pytest.raises(CkptkitError, match="vocabulary.txt"):
            ckptkit.diff(tmp_path / "a.keras", tmp_path / "b.keras")


class TestDiff:
    def test_models_that_differ_only_in_a_vocabulary_are_different(
        self, build: Build, tmp_path: Path, run_cli: RunCli
    ) -> None:
        build(CATS, 4).save(tmp_path / "a.keras")
        build(("cat", "cow", "dog"), 4).save(tmp_path / "b.keras")
        found = ckptkit.diff(tmp_path / "a.keras", tmp_path / "b.keras")
        assert found.totals.identical == found.totals.pairs == 3
        assert found.verdict == "different"
        (apart,) = [each for each in found.assets if each.differs]
        assert (apart.layer, apart.first) == ("words", "entry 2: 'dog' in a, 'cow' in b")
        done = run_cli("diff", tmp_path / "a.keras", tmp_path / "b.keras")
        assert done.returncode == 1
        assert "entry 2: 'dog' in a, 'cow' in b" in done.stdout
        data = json.loads(run_cli("diff", tmp_path / "a.keras", tmp_path / "b.keras", "--json").stdout)
        assert [each["status"] for each in data["assets"]].count("different") == 1

    def test_a_longer_one_is_different_where_the_shorter_ends(self, build: Build, tmp_path: Path) -> None:
        build(CATS, 6).save(tmp_path / "a.keras")
        build((*CATS, "emu"), 6).save(tmp_path / "b.keras")
        (apart,) = [e for e in ckptkit.diff(tmp_path / "a.keras", tmp_path / "b.keras").assets if e.differs]
        assert apart.first == "entry 4: nothing in a, 'emu' in b"

    def test_settings_of_a_hash_differ(self, fw: SimpleNamespace, tmp_path: Path) -> None:
        layers = fw.keras.layers
        for name, salt in (("a", 3), ("b", 5)):
            inputs = fw.keras.Input((1,), dtype="string")
            table = layers.Embedding(4, 2, embeddings_initializer="ones", name="table")
            fw.keras.Model(inputs, table(layers.Hashing(4, salt=salt, name="h")(inputs))).save(
                tmp_path / f"{name}.keras"
            )
        found = ckptkit.diff(tmp_path / "a.keras", tmp_path / "b.keras")
        assert (found.verdict, [each.first for each in found.assets]) == (
            "different",
            ["salt: [3, 3] in a, [5, 5] in b"],
        )
        (step,) = ckptkit.plan(tmp_path / "a.keras", tmp_path / "b.keras").plan.steps
        assert "salt: [3, 3] in a" in step.doubts[0]

    @pytest.mark.parametrize("lookup", ["StringLookup", "TextVectorization"])
    def test_an_archive_and_a_saved_model_of_one_model_are_equal(
        self, lookup: str, fw: SimpleNamespace, build: Build, tmp_path: Path
    ) -> None:
        model = build(CATS, 5, lookup)
        model.save(tmp_path / "a.keras")
        fw.tf.saved_model.save(model, str(tmp_path / "b"))
        found = ckptkit.diff(tmp_path / "a.keras", tmp_path / "b")
        assert found.verdict == "identical", found.assets
        assert any(each.a and each.b and each.b.kind == "table" for each in found.assets)
        fw.tf.saved_model.save(build(("dog", "cat", "cow"), 5, lookup), str(tmp_path / "c"))
        found = ckptkit.diff(tmp_path / "a.keras", tmp_path / "c")
        assert found.totals.identical == found.totals.pairs
        assert found.verdict == "different"

    def test_a_vocabulary_that_the_architecture_holds_is_that_of_the_table(
        self, fw: SimpleNamespace, tmp_path: Path
    ) -> None:
        """tf_keras: the table is that of a lookup inside of the layer, which the architecture does not speak of."""
        keras = fw.tf_keras

        def build(words: tuple[str, ...]) -> Any:
            text = keras.layers.TextVectorization(vocabulary=list(words), output_mode="multi_hot")
            inner = keras.Sequential([keras.Input((1,), dtype="string"), text], name="inner")
            return keras.Sequential([keras.Input((1,), dtype="string"), inner, keras.layers.Dense(2)])

        model = build(CATS)
        model.save(tmp_path / "a.keras")
        model.save(tmp_path / "a")
        found = ckptkit.diff(tmp_path / "a.keras", tmp_path / "a")
        assert found.verdict == "identical", found.assets
        other = build(("cat", "cow", "dog"))
        other.set_weights(model.get_weights())
        other.save(tmp_path / "b")
        (apart,) = [each for each in ckptkit.diff(tmp_path / "a.keras", tmp_path / "b").assets if each.differs]
        assert apart.first == "'cow': 3 in a, 2 in b"

    def test_a_container_without_a_place_for_it_is_not_another_model(self, build: Build, tmp_path: Path) -> None:
        model = build(CATS, 4)
        model.save(tmp_path / "a.keras")
        model.save_weights(tmp_path / "a.weights.h5")
        found = ckptkit.diff(tmp_path / "a.keras", tmp_path / "a.weights.h5")
        assert found.verdict == "identical"
        assert {each.status for each in found.assets} == {"only_a"}

    def test_a_filter_chooses_assets_too(self, build: Build, tmp_path: Path) -> None:
        build(CATS, 4).save(tmp_path / "a.keras")
        build(("cat", "cow", "dog"), 4).save(tmp_path / "b.keras")
        assert ckptkit.diff(tmp_path / "a.keras", tmp_path / "b.keras", filter="head*").verdict == "identical"
        assert ckptkit.diff(tmp_path / "a.keras", tmp_path / "b.keras", filter="words").verdict == "different"


def outputs(fw: SimpleNamespace, model: Any, words: tuple[Any, ...]) -> np.ndarray:
    given = fw.tf.constant([[word] for word in words])
    return np.asarray(model(given)).reshape(len(words), -1)


class TestByToken:
    @pytest.mark.parametrize("lookup", ["StringLookup", "TextVectorization"])
    def test_known_words_keep_their_rows_and_new_ones_the_template_s(
        self, lookup: str, fw: SimpleNamespace, build: Build, tmp_path: Path
    ) -> None:
        old, new = build(CATS, 6, lookup), build(HENS, 9, lookup, seed=2)
        old.save(tmp_path / "old.keras")
        new.save(tmp_path / "new.keras")
        done = ckptkit.remap(tmp_path / "old.keras", tmp_path / "new.keras", tmp_path / "o.keras", by_token=True)
        moved = fw.keras.models.load_model(tmp_path / "o.keras")
        known = (*CATS, "never seen")
        np.testing.assert_array_equal(outputs(fw, moved, known), outputs(fw, old, known))
        table, template = moved.get_layer("table").get_weights()[0], new.get_layer("table").get_weights()[0]
        row = moved.get_layer("words").get_vocabulary().index("hen")
        np.testing.assert_array_equal(table[row], template[row])
        np.testing.assert_array_equal(table[-1], template[-1])
        step = next(step for step in done.plan.steps if step.target.name == "table/embeddings")
        assert step.evidence[-1] == "token"
        special = len(moved.get_layer("words").get_vocabulary()) - len(HENS)
        assert f"{3 + special} of 9 moved" in step.doubts[-1]
        assert "'hen', 'emu'" in step.doubts[-1]

    def test_rows_of_a_kernel_over_counts(self, fw: SimpleNamespace, build: Build, tmp_path: Path) -> None:
        old, new = (build(words, 0, output_mode="multi_hot") for words in (CATS, ("cow", "cat", "dog")))
        old.save(tmp_path / "old.keras")
        new.save(tmp_path / "new.keras")
        ckptkit.remap(tmp_path / "old.keras", tmp_path / "new.keras", tmp_path / "o.keras", by_token=True)
        moved = fw.keras.models.load_model(tmp_path / "o.keras")
        np.testing.assert_array_equal(outputs(fw, moved, CATS), outputs(fw, old, CATS))

    def test_from_the_table_of_a_saved_model(self, fw: SimpleNamespace, build: Build, tmp_path: Path) -> None:
        old, new = build(CATS, 5, "TextVectorization"), build(("emu", "cow", "cat"), 7, "TextVectorization", seed=3)
        fw.tf.saved_model.save(old, str(tmp_path / "old"))
        new.save(tmp_path / "new.keras")
        ckptkit.remap(tmp_path / "old", tmp_path / "new.keras", tmp_path / "o.keras", by_token=True)
        moved = fw.keras.models.load_model(tmp_path / "o.keras")
        known = ("cow", "cat", "never seen", "cat cow")
        np.testing.assert_array_equal(outputs(fw, moved, known), outputs(fw, old, known))

    def test_without_it_the_rows_move_as_they_lie_and_that_is_said(
        self, fw: SimpleNamespace, build: Build, tmp_path: Path, run_cli: RunCli
    ) -> None:
        build(CATS, 4).save(tmp_path / "old.keras")
        build(("cow", "cat", "dog"), 4, seed=2).save(tmp_path / "new.keras")
        done = run_cli("remap", tmp_path / "old.keras", "--like", tmp_path / "new.keras", "-o", tmp_path / "o.keras")
        assert done.returncode == 0
        said = " ".join(done.stdout.split())
        assert "another vocabulary than it was trained with: row 1 is 'cat' in the source, 'cow' in the target" in said
        (kept,) = named(tmp_path / "o.keras").values()
        assert [row[0] for row in kept.entries][1:] == [b"cow", b"cat", b"dog"]  # the template's stays

    def test_equal_vocabularies_are_not_spoken_of(self, build: Build, tmp_path: Path) -> None:
        build(CATS, 4).save(tmp_path / "old.keras")
        build(CATS, 4, seed=2).save(tmp_path / "new.keras")
        assert not any(s.doubts for s in ckptkit.plan(tmp_path / "old.keras", tmp_path / "new.keras").plan.steps)

    def test_a_plan_of_it_can_be_written_down_and_applied(
        self, fw: SimpleNamespace, build: Build, tmp_path: Path, run_cli: RunCli
    ) -> None:
        old = build(CATS, 4)
        old.save(tmp_path / "old.keras")
        build(HENS, 6, seed=2).save(tmp_path / "new.keras")
        files = [tmp_path / "old.keras", "--like", tmp_path / "new.keras"]
        plan, out = tmp_path / "plan.json", tmp_path / "o.keras"
        assert run_cli("remap", *files, "--by-token", "--dry-run", "--plan-out", plan).returncode == 0
        assert run_cli("remap", tmp_path / "old.keras", "--plan", plan, "-o", out).returncode == 0
        moved = fw.keras.models.load_model(out)
        np.testing.assert_array_equal(outputs(fw, moved, CATS), outputs(fw, old, CATS))

    def test_another_dtype_rounds_the_rows_that_move_and_no_other(
        self, fw: SimpleNamespace, build: Build, tmp_path: Path
    ) -> None:
        build(CATS, 4).save(tmp_path / "old.keras")
        policy = fw.keras.config.dtype_policy()
        fw.keras.config.set_dtype_policy("float16")
        try:
            new = build(HENS, 6, seed=2)
        finally:
            fw.keras.config.set_dtype_policy(policy)
        new.save(tmp_path / "new.keras")
        ckptkit.remap(tmp_path / "old.keras", tmp_path / "new.keras", tmp_path / "o.keras", by_token=True)
        table = fw.keras.models.load_model(tmp_path / "o.keras").get_layer("table").get_weights()[0]
        assert table.dtype == np.float16
        np.testing.assert_array_equal(table[2], new.get_layer("table").get_weights()[0][2])

    def test_weights_alone_hold_no_vocabulary(self, build: Build, tmp_path: Path) -> None:
        model = build(CATS, 4)
        model.save(tmp_path / "a.keras")
        model.save_weights(tmp_path / "a.weights.h5")
        with pytest.raises(RefusedError, match="no vocabulary is known"):
            ckptkit.plan(tmp_path / "a.keras", tmp_path / "a.weights.h5", by_token=True)
        with pytest.raises(UsageError, match="rows follow tokens, or contents"):
            ckptkit.plan(tmp_path / "a.keras", tmp_path / "a.keras", by_token=True, by="value")

    def test_an_embedding_behind_two_lookups_is_nobody_s(self, fw: SimpleNamespace, tmp_path: Path) -> None:
        layers = fw.keras.layers
        one, two = (fw.keras.Input((1,), dtype="string") for _ in range(2))
        lookups = [layers.StringLookup(vocabulary=list(words)) for words in (CATS, ("a", "b", "c"))]
        both = layers.Concatenate()([lookups[0](one), lookups[1](two)])
        fw.keras.Model([one, two], layers.Embedding(4, 2)(both)).save(tmp_path / "a.keras")
        with pytest.raises(RefusedError, match="no vocabulary is known"):
            ckptkit.plan(tmp_path / "a.keras", tmp_path / "a.keras", by_token=True)


def test_convert_says_what_it_leaves_behind(build: Build, tmp_path: Path, run_cli: RunCli) -> None:
    build(CATS, 4).save(tmp_path / "a.keras")
    done = run_cli("convert", tmp_path / "a.keras", "-o", tmp_path / "a.npz")
    assert "left behind, as npz holds tensors alone: assets/layers/string_lookup/vocabulary.txt" in " ".join(
        done.stdout.split()
    )


def test_a_page_names_them(build: Build, tmp_path: Path, run_cli: RunCli) -> None:
    build(CATS, 4).save(tmp_path / "a.keras")
    shown = run_cli("inspect", tmp_path / "a.keras").stdout
    assert "assets/layers/string_lookup/vocabulary.txt" in shown
    data = json.loads(run_cli("inspect", tmp_path / "a.keras", "--json").stdout)
    assert [(each["kind"], each["entries"], each["rows_of"]) for each in data["assets"]][0] == (
        "vocabulary",
        4,
        ["table"],
    )
    for command in (["inspect", tmp_path / "a.keras"], ["diff", tmp_path / "a.keras", tmp_path / "a.keras"]):
        run_cli(*command, "--html", tmp_path / f"{command[0]}.html")
        assert "string_lookup/vocabulary.txt" in (tmp_path / f"{command[0]}.html").read_text()
