"""Transformer encoders: BERT and its kin, under the names of their TensorFlow 1 code and of the TF models of transformers.

Sources of the names: the variables of the released checkpoints of google-research/bert, google-research/albert and
google-research/electra; the TF classes of huggingface/transformers; the released ViT archives of
google-research/vision_transformer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tests.matching.published.scheme import Scheme, Stored, Weights, below, noise, published

HIDDEN, HEADS, INNER, VOCABULARY, LENGTH, LAYERS = 12, 3, 20, 31, 18, 3
LAYER_NORM = {"beta": "beta", "gamma": "gamma"}
DENSE = {"kernel": "kernel", "bias": "bias"}
HUB = (".weights.h5", ".keras")  # what models of keras_hub can be saved to


def _sizes(**other: Any) -> dict[str, Any]:
    return {
        "num_layers": LAYERS, "num_heads": HEADS, "hidden_dim": HIDDEN, "intermediate_dim": INNER,
        "max_sequence_length": LENGTH, **other,
    }  # fmt: skip


def merged(value: np.ndarray, *, output: bool = False) -> np.ndarray:
    """Per-head kernels and biases as one matrix: `[h, heads, dim]` as `[h, heads·dim]`, outputs `[heads·dim, h]`."""
    if output and value.ndim == 3:
        return value.reshape(-1, value.shape[-1])
    if value.ndim == 3:
        return value.reshape(value.shape[0], -1)
    return value if output else value.reshape(-1)


def _attention(w: Weights, layer: str, scope: str, names: dict[str, str]) -> Stored:
    """Query, key, value and output projections of a Keras `MultiHeadAttention` as matrices."""
    out = {}
    for role, name in names.items():
        for part in ("kernel", "bias"):
            out[f"{scope}/{name}/{part}"] = merged(w[f"{layer}/{role}/{part}"], output=role == "attention_output")
    return out


GOOGLE = {"query": "self/query", "key": "self/key", "value": "self/value", "attention_output": "output/dense"}


def _bert_layer(w: Weights, layer: str, scope: str, norm: str = "LayerNorm") -> Stored:
    return {
        **_attention(w, f"{layer}/self_attention_layer", f"{scope}/attention", GOOGLE),
        **below(f"{scope}/attention/output/{norm}", w.layer(f"{layer}/self_attention_layer_norm", **LAYER_NORM)),
        **below(f"{scope}/intermediate/dense", w.layer(f"{layer}/feedforward_intermediate_dense", **DENSE)),
        **below(f"{scope}/output/dense", w.layer(f"{layer}/feedforward_output_dense", **DENSE)),
        **below(f"{scope}/output/{norm}", w.layer(f"{layer}/feedforward_layer_norm", **LAYER_NORM)),
    }


def _embeddings(w: Weights, scope: str, norm: str = "LayerNorm", types: bool = True) -> Stored:
    out = {f"{scope}/word_embeddings": w["token_embedding/embeddings"]}
    if types:
        out[f"{scope}/token_type_embeddings"] = w["segment_embedding/embeddings"]
    out[f"{scope}/position_embeddings"] = w["position_embedding/embeddings"]
    return {**out, **below(f"{scope}/{norm}", w.layer("embeddings_layer_norm", **LAYER_NORM))}


def _pretraining(_: Weights) -> Stored:
    return noise(3, {
        "cls/predictions/transform/dense/kernel": (HIDDEN, HIDDEN), "cls/predictions/transform/dense/bias": (HIDDEN,),
        "cls/predictions/transform/LayerNorm/beta": (HIDDEN,), "cls/predictions/transform/LayerNorm/gamma": (HIDDEN,),
        "cls/predictions/output_bias": (VOCABULARY,), "cls/seq_relationship/output_weights": (2, HIDDEN),
        "cls/seq_relationship/output_bias": (2,),
    })  # fmt: skip


@published
def bert() -> Scheme:
    def build() -> Any:
        import keras_hub

        return keras_hub.models.BertBackbone(vocabulary_size=VOCABULARY, num_segments=2, **_sizes())

    def store(w: Weights) -> Stored:
        out = _embeddings(w, "bert/embeddings")
        for i in range(LAYERS):
            out |= _bert_layer(w, f"transformer_layer_{i}", f"bert/encoder/layer_{i}")
        return {**out, **below("bert/pooler/dense", w.layer("pooled_dense", **DENSE))}

    return Scheme(build, store, _pretraining, targets=HUB)


@published
def bert_twelve_layers() -> Scheme:
    """As many layers that the alphabet puts layer 10 before layer 2."""

    def build() -> Any:
        import keras_hub

        sizes = _sizes(num_layers=12)
        return keras_hub.models.BertBackbone(vocabulary_size=VOCABULARY, num_segments=2, **sizes)

    def store(w: Weights) -> Stored:
        out = _embeddings(w, "bert/embeddings")
        for i in range(12):
            out |= _bert_layer(w, f"transformer_layer_{i}", f"bert/encoder/layer_{i}")
        return {**out, **below("bert/pooler/dense", w.layer("pooled_dense", **DENSE))}

    return Scheme(build, store, _pretraining, targets=HUB)


@published
def albert() -> Scheme:
    def build() -> Any:
        import keras_hub

        return keras_hub.models.AlbertBackbone(
            vocabulary_size=VOCABULARY, num_segments=2, embedding_dim=5, num_groups=1, **_sizes()
        )

    def store(w: Weights) -> Stored:
        out = _embeddings(w, "bert/embeddings")
        out |= below("bert/encoder/embedding_hidden_mapping_in", w.layer("embedding_projection", **DENSE))
        layer, scope = "group_0_inner_layer_0", "bert/encoder/transformer/group_0/inner_group_0"
        out |= _attention(w, f"{layer}/self_attention_layer", f"{scope}/attention_1", GOOGLE)
        out |= below(f"{scope}/LayerNorm", w.layer(f"{layer}/self_attention_layer_norm", **LAYER_NORM))
        out |= below(f"{scope}/ffn_1/intermediate/dense", w.layer(f"{layer}/feedforward_intermediate_dense", **DENSE))
        out |= below(f"{scope}/ffn_1/intermediate/output/dense", w.layer(f"{layer}/feedforward_output_dense", **DENSE))
        out |= below(f"{scope}/LayerNorm_1", w.layer(f"{layer}/feedforward_layer_norm", **LAYER_NORM))
        return {**out, **below("bert/pooler/dense", w.layer("pooled_dense", **DENSE))}

    def extra(_: Weights) -> Stored:
        return noise(4, {
            "cls/predictions/transform/dense/kernel": (HIDDEN, 5), "cls/predictions/transform/dense/bias": (5,),
            "cls/predictions/transform/LayerNorm/beta": (5,), "cls/predictions/transform/LayerNorm/gamma": (5,),
            "cls/predictions/output_bias": (VOCABULARY,), "cls/seq_relationship/output_weights": (2, HIDDEN),
            "cls/seq_relationship/output_bias": (2,),
        })  # fmt: skip

    return Scheme(build, store, extra, targets=HUB)


@published
def electra() -> Scheme:
    """The generator lies beside the discriminator, under another scope."""

    def build() -> Any:
        import keras_hub

        return keras_hub.models.ElectraBackbone(vocab_size=VOCABULARY, num_segments=2, embedding_dim=5, **_sizes())

    def store(w: Weights) -> Stored:
        out = _embeddings(w, "electra/embeddings")
        out |= below("electra/embeddings_project", w.layer("embeddings_projection", **DENSE))
        for i in range(LAYERS):
            out |= _bert_layer(w, f"transformer_layer_{i}", f"electra/encoder/layer_{i}")
        return out

    def extra(_: Weights) -> Stored:
        return noise(5, {
            "discriminator_predictions/dense/kernel": (HIDDEN, HIDDEN), "discriminator_predictions/dense/bias": (HIDDEN,),
            "discriminator_predictions/dense_1/kernel": (HIDDEN, 1), "discriminator_predictions/dense_1/bias": (1,),
            "generator_predictions/dense/kernel": (4, 5), "generator_predictions/dense/bias": (5,),
            "generator_predictions/LayerNorm/beta": (5,), "generator_predictions/LayerNorm/gamma": (5,),
            "generator_predictions/output_bias": (VOCABULARY,),
        })  # fmt: skip

    # Keras's pooled_dense has no counterpart: the template's stays.
    pooled = ("pooled_dense/kernel", "pooled_dense/bias")
    # Beside discriminator_predictions/dense, of its shape: to ask is good enough.
    return Scheme(
        build, store, extra, {"allow_missing": True}, back=(), untouched=pooled, targets=HUB,
        extra_expect=("right", "refused"),
    )  # fmt: skip


def _transformers_layer(w: Weights, layer: str, scope: str) -> Stored:
    return _bert_layer(w, layer, scope)


@published
def roberta_of_transformers() -> Scheme:
    def build() -> Any:
        import keras_hub

        return keras_hub.models.RobertaBackbone(vocabulary_size=VOCABULARY, **_sizes())

    def store(w: Weights) -> Stored:
        scope = "tf_roberta_model/roberta"
        out = {f"{scope}/embeddings/word_embeddings/weight": w["token_embedding/embeddings"],
               f"{scope}/embeddings/position_embeddings/embeddings": w["position_embedding/embeddings"]}  # fmt: skip
        out |= below(f"{scope}/embeddings/LayerNorm", w.layer("embeddings_layer_norm", **LAYER_NORM))
        for i in range(LAYERS):
            out |= _transformers_layer(w, f"transformer_layer_{i}", f"{scope}/encoder/layer_._{i}")
        return out

    def extra(_: Weights) -> Stored:
        return noise(6, {
            "tf_roberta_model/roberta/pooler/dense/kernel": (HIDDEN, HIDDEN),
            "tf_roberta_model/roberta/pooler/dense/bias": (HIDDEN,),
        })  # fmt: skip

    return Scheme(build, store, extra, targets=HUB)


@published
def distilbert_of_transformers() -> Scheme:
    def build() -> Any:
        import keras_hub

        return keras_hub.models.DistilBertBackbone(vocabulary_size=VOCABULARY, **_sizes())

    def store(w: Weights) -> Stored:
        scope = "tf_distil_bert_model/distilbert"
        out = {f"{scope}/embeddings/word_embeddings/weight": w["token_embedding/embeddings"],
               f"{scope}/embeddings/position_embeddings/embeddings": w["position_embedding/embeddings"]}  # fmt: skip
        out |= below(f"{scope}/embeddings/LayerNorm", w.layer("embeddings_layer_norm", **LAYER_NORM))
        heads = {"query": "q_lin", "key": "k_lin", "value": "v_lin", "attention_output": "out_lin"}
        for i in range(LAYERS):
            layer, block = f"transformer_layer_{i}", f"{scope}/transformer/layer_._{i}"
            out |= _attention(w, f"{layer}/self_attention_layer", f"{block}/attention", heads)
            out |= below(f"{block}/sa_layer_norm", w.layer(f"{layer}/self_attention_layer_norm", **LAYER_NORM))
            out |= below(f"{block}/ffn/lin1", w.layer(f"{layer}/feedforward_intermediate_dense", **DENSE))
            out |= below(f"{block}/ffn/lin2", w.layer(f"{layer}/feedforward_output_dense", **DENSE))
            out |= below(f"{block}/output_layer_norm", w.layer(f"{layer}/feedforward_layer_norm", **LAYER_NORM))
        return out

    return Scheme(build, store, targets=HUB)


@published
def vision_transformer() -> Scheme:
    """Flax's names in an npz: kernels already per head."""

    def build() -> Any:
        import keras_hub

        return keras_hub.models.ViTBackbone(
            image_shape=(8, 8, 3), patch_size=4, num_layers=LAYERS, num_heads=HEADS, hidden_dim=HIDDEN, mlp_dim=INNER
        )

    def store(w: Weights) -> Stored:
        norm = {"gamma": "scale", "beta": "bias"}
        out = {"cls": w["class_token"], **below("embedding", w.layer("patch_embedding", **DENSE)),
               "Transformer/posembed_input/pos_embedding": w["position_embedding/embeddings"][None]}  # fmt: skip
        for i in range(LAYERS):
            layer, block = f"vit_encoder/transformer_block_{i + 1}", f"Transformer/encoderblock_{i}"
            out |= below(f"{block}/LayerNorm_0", w.layer(f"{layer}/ln_1", **norm))
            for role, name in (("query", "query"), ("key", "key"), ("value", "value"), ("attention_output", "out")):
                scope = f"{block}/MultiHeadDotProductAttention_1/{name}"
                out |= below(scope, w.layer(f"{layer}/mha/{role}", **DENSE))
            out |= below(f"{block}/LayerNorm_2", w.layer(f"{layer}/ln_2", **norm))
            out |= below(f"{block}/MlpBlock_3/Dense_0", w.layer(f"{layer}/mlp/dense_1", **DENSE))
            out |= below(f"{block}/MlpBlock_3/Dense_1", w.layer(f"{layer}/mlp/dense_2", **DENSE))
        return {**out, **below("Transformer/encoder_norm", w.layer("vit_encoder/ln", **norm))}

    return Scheme(build, store, container="npz", back=(), targets=HUB)


def _flat(names: Callable[[str], str]) -> Callable[[], Any]:
    """A functional encoder whose layers are called by BERT's scopes, spelled by `names`."""

    def build() -> Any:
        import keras
        from keras import layers as make

        ids, kinds = keras.Input((LENGTH,), dtype="int32"), keras.Input((LENGTH,), dtype="int32")
        places = keras.Input((LENGTH,), dtype="int32")

        def name(scope: str) -> str:
            return names(scope)

        x = make.Add()([
            make.Embedding(VOCABULARY, HIDDEN, name=name("bert/embeddings/word_embeddings"))(ids),
            make.Embedding(2, HIDDEN, name=name("bert/embeddings/token_type_embeddings"))(kinds),
            make.Embedding(LENGTH, HIDDEN, name=name("bert/embeddings/position_embeddings"))(places),
        ])  # fmt: skip
        x = make.LayerNormalization(name=name("bert/embeddings/LayerNorm"))(x)
        for i in range(LAYERS):
            scope = f"bert/encoder/layer_{i}"
            q, k, v = (
                make.Dense(HIDDEN, name=name(f"{scope}/attention/self/{n}"))(x) for n in ("query", "key", "value")
            )
            y = make.Dot((2, 1))([make.Dot((2, 2))([q, k]), v])
            y = make.Dense(HIDDEN, name=name(f"{scope}/attention/output/dense"))(y)
            x = make.LayerNormalization(name=name(f"{scope}/attention/output/LayerNorm"))(make.Add()([x, y]))
            y = make.Dense(INNER, name=name(f"{scope}/intermediate/dense"))(x)
            y = make.Dense(HIDDEN, name=name(f"{scope}/output/dense"))(y)
            x = make.LayerNormalization(name=name(f"{scope}/output/LayerNorm"))(make.Add()([x, y]))
        x = make.GlobalAveragePooling1D()(x)
        return keras.Model([ids, kinds, places], make.Dense(HIDDEN, name=name("bert/pooler/dense"))(x))

    return build


def _flat_store(names: Callable[[str], str]) -> Callable[[Weights], Stored]:
    def store(w: Weights) -> Stored:
        out = {}
        for part in ("word", "token_type", "position"):
            out[f"bert/embeddings/{part}_embeddings"] = w[names(f"bert/embeddings/{part}_embeddings") + "/embeddings"]
        scopes = [("bert/embeddings/LayerNorm", LAYER_NORM)]
        for i in range(LAYERS):
            scope = f"bert/encoder/layer_{i}"
            scopes += [(f"{scope}/attention/self/{n}", DENSE) for n in ("query", "key", "value")]
            scopes += [(f"{scope}/attention/output/dense", DENSE), (f"{scope}/attention/output/LayerNorm", LAYER_NORM),
                       (f"{scope}/intermediate/dense", DENSE), (f"{scope}/output/dense", DENSE),
                       (f"{scope}/output/LayerNorm", LAYER_NORM)]  # fmt: skip
        for scope, roles in [*scopes, ("bert/pooler/dense", DENSE)]:
            out |= below(scope, w.layer(names(scope), **roles))
        return out

    return store


def _underscored(scope: str) -> str:
    return scope.replace("/", "_")


def _shorter(scope: str) -> str:
    """A person's own shortening: no common scope, `layer` for each, numbers from 1."""
    words = scope.removeprefix("bert/").removeprefix("encoder/").replace("attention/self/", "attn_").split("/")
    if words[0].startswith("layer_"):
        words[0] = f"layer{int(words[0].removeprefix('layer_')) + 1}"
    return "_".join("ln" if word == "LayerNorm" else word for word in words)


@published
def bert_scopes_as_layer_names() -> Scheme:
    return Scheme(_flat(_underscored), _flat_store(_underscored), _pretraining)


@published
def bert_shortened_by_a_person() -> Scheme:
    return Scheme(_flat(_shorter), _flat_store(_shorter), _pretraining)


@published
def roberta_of_transformers_in_h5() -> Scheme:
    """`tf_model.h5`: full names below one group."""
    scheme = roberta_of_transformers()
    return replace(scheme, container="h5", extra=None, back=())


@published
def distilbert_of_transformers_in_h5() -> Scheme:
    return replace(distilbert_of_transformers(), container="h5", back=())


@published
def electra_generator_left_out() -> Scheme:
    """A fine-tuned discriminator whose head is wanted too: two dense layers of one word and different sizes."""

    def build() -> Any:
        import keras
        from keras import layers as make

        ids = keras.Input((LENGTH,), dtype="int32")
        x = make.Embedding(VOCABULARY, 5, name="word_embeddings")(ids)
        x = make.LayerNormalization(name="embeddings_norm")(x)
        x = make.Dense(HIDDEN, name="embeddings_project")(x)
        for i in range(LAYERS):
            y = make.Dense(INNER, name=f"layer_{i}_intermediate")(x)
            y = make.Dense(HIDDEN, name=f"layer_{i}_output")(y)
            x = make.LayerNormalization(name=f"layer_{i}_norm")(make.Add()([x, y]))
        x = make.Dense(HIDDEN, name="head_dense")(x)
        return keras.Model(ids, make.Dense(1, name="head_prediction")(x))

    def store(w: Weights) -> Stored:
        out = {"electra/embeddings/word_embeddings": w["word_embeddings/embeddings"]}
        out |= below("electra/embeddings/LayerNorm", w.layer("embeddings_norm", **LAYER_NORM))
        out |= below("electra/embeddings_project", w.layer("embeddings_project", **DENSE))
        for i in range(LAYERS):
            scope = f"electra/encoder/layer_{i}"
            out |= below(f"{scope}/intermediate/dense", w.layer(f"layer_{i}_intermediate", **DENSE))
            out |= below(f"{scope}/output/dense", w.layer(f"layer_{i}_output", **DENSE))
            out |= below(f"{scope}/output/LayerNorm", w.layer(f"layer_{i}_norm", **LAYER_NORM))
        out |= below("discriminator_predictions/dense", w.layer("head_dense", **DENSE))
        return {**out, **below("discriminator_predictions/dense_1", w.layer("head_prediction", **DENSE))}

    return Scheme(build, store)
