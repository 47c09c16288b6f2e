"""Generative and recurrent networks for text and speech, under the names of their TensorFlow 1 code.

Sources of the names: the variables of the released checkpoints of openai/gpt-2, openai/finetune-transformer-lm,
google-research/text-to-text-transfer-transformer, zihangdai/xlnet and mozilla/DeepSpeech, and of the graphs that
tensorflow/nmt, tensorflow/tensor2tensor and `tf.nn.bidirectional_dynamic_rnn` make.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.matching.published.encoders import (
    DENSE,
    HEADS,
    HIDDEN,
    HUB,
    INNER,
    LAYER_NORM,
    LAYERS,
    LENGTH,
    VOCABULARY,
    merged,
)
from tests.matching.published.scheme import Scheme, Stored, Weights, below, published


def _fused_attention(w: Weights, layer: str, scope: str) -> Stored:
    """Query, key and value as one convolution of width 1."""
    kernels = [merged(w[f"{layer}/{role}/kernel"]) for role in ("query", "key", "value")]
    biases = [merged(w[f"{layer}/{role}/bias"]) for role in ("query", "key", "value")]
    return {
        f"{scope}/c_attn/w": np.concatenate(kernels, 1)[None], f"{scope}/c_attn/b": np.concatenate(biases),
        f"{scope}/c_proj/w": merged(w[f"{layer}/attention_output/kernel"], output=True)[None],
        f"{scope}/c_proj/b": w[f"{layer}/attention_output/bias"],
    }  # fmt: skip


def _wide(w: Weights, scope: str, layer: str) -> Stored:
    """A dense layer stored as a convolution of width 1."""
    return {f"{scope}/w": w[f"{layer}/kernel"][None], f"{scope}/b": w[f"{layer}/bias"]}


# Cells and projections are fused in what is published: the way back may be refused.
EITHER = ("right", "refused")
GAIN = {"gamma": "g", "beta": "b"}


@published
def gpt_2() -> Scheme:
    def build() -> Any:
        import keras_hub

        return keras_hub.models.GPT2Backbone(
            vocabulary_size=VOCABULARY, num_layers=LAYERS, num_heads=HEADS, hidden_dim=HIDDEN, intermediate_dim=INNER,
            max_sequence_length=LENGTH,
        )  # fmt: skip

    def store(w: Weights) -> Stored:
        out = {"model/wpe": w["position_embedding/embeddings"], "model/wte": w["token_embedding/embeddings"]}
        for i in range(LAYERS):
            layer, scope = f"transformer_layer_{i}", f"model/h{i}"
            out |= below(f"{scope}/ln_1", w.layer(f"{layer}/self_attention_layer_norm", **GAIN))
            out |= _fused_attention(w, f"{layer}/self_attention", f"{scope}/attn")
            out |= below(f"{scope}/ln_2", w.layer(f"{layer}/feedforward_layer_norm", **GAIN))
            out |= _wide(w, f"{scope}/mlp/c_fc", f"{layer}/feedforward_intermediate_dense")
            out |= _wide(w, f"{scope}/mlp/c_proj", f"{layer}/feedforward_output_dense")
        return {**out, **below("model/ln_f", w.layer("layer_norm", **GAIN))}

    return Scheme(build, store, back=EITHER, targets=HUB)


@published
def openai_gpt() -> Scheme:
    """Into a model that keeps the fused projection."""

    def build() -> Any:
        import keras
        from keras import layers as make

        ids = keras.Input((LENGTH,), dtype="int32")
        x = make.Embedding(VOCABULARY + LENGTH, HIDDEN, name="we")(ids)
        for i in range(LAYERS):
            y = make.Dense(3 * HIDDEN, name=f"h{i}_attn_c_attn")(x)
            y = make.Dense(HIDDEN, name=f"h{i}_attn_c_proj")(y)
            x = make.LayerNormalization(name=f"h{i}_ln_1")(make.Add()([x, y]))
            y = make.Dense(INNER, name=f"h{i}_mlp_c_fc")(x)
            y = make.Dense(HIDDEN, name=f"h{i}_mlp_c_proj")(y)
            x = make.LayerNormalization(name=f"h{i}_ln_2")(make.Add()([x, y]))
        return keras.Model(ids, make.Dense(2, name="clf")(x))

    def store(w: Weights) -> Stored:
        out = {"model/we": w["we/embeddings"]}
        for i in range(LAYERS):
            scope = f"model/h{i}"
            out |= _wide(w, f"{scope}/attn/c_attn", f"h{i}_attn_c_attn")
            out |= _wide(w, f"{scope}/attn/c_proj", f"h{i}_attn_c_proj")
            out |= below(f"{scope}/ln_1", w.layer(f"h{i}_ln_1", **GAIN))
            out |= _wide(w, f"{scope}/mlp/c_fc", f"h{i}_mlp_c_fc")
            out |= _wide(w, f"{scope}/mlp/c_proj", f"h{i}_mlp_c_proj")
            out |= below(f"{scope}/ln_2", w.layer(f"h{i}_ln_2", **GAIN))
        return {**out, **below("model/clf", w.layer("clf", kernel="w", bias="b"))}

    return Scheme(build, store, back=EITHER)


@published
def t5() -> Scheme:
    """Keras counts the norms through encoder and decoder; two relative biases of one name and shape."""
    size = 5

    def build() -> Any:
        import keras_hub

        return keras_hub.models.T5Backbone(
            vocabulary_size=VOCABULARY, num_layers=LAYERS, num_heads=HEADS, hidden_dim=HIDDEN, intermediate_dim=INNER,
            key_value_dim=size, use_gated_activation=False, tie_embedding_weights=True, dropout=0,
        )  # fmt: skip

    def store(w: Weights) -> Stored:
        out = {"shared/embedding": w["token_embedding/embeddings"]}
        norms = iter(range(5 * LAYERS))
        for part in ("encoder", "decoder"):
            bias = w["self_attention/embeddings" + ("" if part == "encoder" else "#2")].T
            for i in range(LAYERS):
                layer, block = f"transformer_{part}_layer_{i}", f"{part}/block_{i:03}"
                kinds = [("SelfAttention", "self_attention"), ("EncDecAttention", "cross_attention")]
                for j, (theirs, ours) in enumerate(kinds[: 1 + (part == "decoder")]):
                    scope = f"{block}/layer_{j:03}"
                    for letter, role in (("k", "key"), ("o", "output"), ("q", "query"), ("v", "value")):
                        out[f"{scope}/{theirs}/{letter}"] = w[f"{layer}/{ours}/{role}_projector/kernel"]
                    if i == j == 0:
                        out[f"{scope}/SelfAttention/relative_attention_bias"] = bias
                    out[f"{scope}/layer_norm/scale"] = w[f"{layer}/{_t5_norm(next(norms))}/weight"]
                scope = f"{block}/layer_{1 + (part == 'decoder'):03}"
                for theirs, ours in (("wi", "input_projector"), ("wo", "output_projector")):
                    out[f"{scope}/DenseReluDense/{theirs}/kernel"] = w[f"{layer}/{ours}/kernel"]
                out[f"{scope}/layer_norm/scale"] = w[f"{layer}/{_t5_norm(next(norms))}/weight"]
            out[f"{part}/final_layer_norm/scale"] = w[f"{part}_output_layer_norm/weight"]
        return out

    return Scheme(build, store, back=EITHER, targets=HUB)


def _t5_norm(place: int) -> str:
    return f"t5_layer_norm_{place}" if place else "t5_layer_norm"


@published
def xlnet() -> Scheme:
    """The biases of all layers are stacked in one variable: a refusal that names them is good enough."""

    def build() -> Any:
        import keras_hub

        return keras_hub.models.XLNetBackbone(
            vocabulary_size=VOCABULARY, num_layers=LAYERS, num_heads=HEADS, hidden_dim=HIDDEN, intermediate_dim=INNER,
            dropout=0,
        )  # fmt: skip

    def store(w: Weights) -> Stored:
        root = "model/transformer"
        layers = [f"xlnet_encoder_{i}" for i in range(LAYERS)]
        out = {}
        for theirs, ours in (("r_w_bias", "content_attention_bias"), ("r_r_bias", "positional_attention_bias")):
            out[f"{root}/{theirs}"] = np.stack([w[f"{layer}/{ours}"] for layer in layers])
        out[f"{root}/word_embedding/lookup_table"] = w["word_embedding/embeddings"]
        out[f"{root}/r_s_bias"] = np.stack([w[f"{layer}/segment_attention_bias"] for layer in layers])
        out[f"{root}/seg_embed"] = np.stack([w[f"{layer}/segment_encoding"] for layer in layers])
        out[f"{root}/mask_emb/mask_emb"] = w["mask_emb"]
        for i, layer in enumerate(layers):
            scope = f"{root}/layer_{i}"
            for letter, role in (
                ("q", "query"),
                ("k", "key"),
                ("v", "value"),
                ("r", "encoding"),
                ("o", "attention_output"),
            ):
                out[f"{scope}/rel_attn/{letter}/kernel"] = w[f"{layer}/rel_attn/{role}/kernel"]
            out |= below(f"{scope}/rel_attn/LayerNorm", w.layer(f"{layer}/layer_norm_rel_attn", **LAYER_NORM))
            out |= below(f"{scope}/ff/layer_1", w.layer(f"{layer}/feedforward_intermediate_dense", **DENSE))
            out |= below(f"{scope}/ff/layer_2", w.layer(f"{layer}/feedforward_output_dense", **DENSE))
            out |= below(f"{scope}/ff/LayerNorm", w.layer(f"{layer}/layer_norm_ff", **LAYER_NORM))
        return out

    return Scheme(build, store, back=EITHER, targets=HUB, expect=("right", "refused"))


def fused_lstm(w: Weights, layer: str) -> dict[str, np.ndarray]:
    """Keras's LSTM as `BasicLSTMCell` stores it: one kernel over inputs and state, gates i, j, f, o, f less 1."""
    kernel = np.concatenate([w[f"{layer}/kernel"], w[f"{layer}/recurrent_kernel"]])
    bias = w[f"{layer}/bias"].copy()
    units = bias.size // 4
    bias[units : 2 * units] -= 1.0

    def gates(value: np.ndarray) -> np.ndarray:
        i, f, c, o = np.split(value, 4, -1)
        return np.concatenate([i, c, f, o], -1)

    return {"kernel": gates(kernel), "bias": gates(bias)}


def _recurrent(w: Weights, scope: str, layer: str) -> Stored:
    return {f"{scope}/{role}": value for role, value in fused_lstm(w, layer).items()}


@published
def neural_machine_translation() -> Scheme:
    """Cells of encoder and decoder have equal shapes; attention and projection beside them."""
    units, cells = 7, 3

    def build() -> Any:
        import keras
        from keras import layers as make

        ids, targets = keras.Input((5,), dtype="int32"), keras.Input((6,), dtype="int32")
        x = make.Embedding(VOCABULARY, units, name="embedding_encoder")(ids)
        for i in range(cells):
            x = make.LSTM(units, return_sequences=True, name=f"encoder_lstm_{i}")(x)
        memory = make.Dense(units, use_bias=False, name="memory_layer")(x)
        y = make.Embedding(VOCABULARY + 4, units, name="embedding_decoder")(targets)
        for i in range(cells):
            y = make.LSTM(units, return_sequences=True, name=f"decoder_lstm_{i}")(y)
        context = make.Dot((2, 1))([make.Dot((2, 2))([y, memory]), memory])
        y = make.Dense(units, use_bias=False, name="attention_layer")(make.Concatenate()([y, context]))
        return keras.Model([ids, targets], make.Dense(VOCABULARY + 4, use_bias=False, name="output_projection")(y))

    def store(w: Weights) -> Stored:
        root = "dynamic_seq2seq"
        out = {"embeddings/encoder/embedding_encoder": w["embedding_encoder/embeddings"],
               "embeddings/decoder/embedding_decoder": w["embedding_decoder/embeddings"]}  # fmt: skip
        for i in range(cells):
            out |= _recurrent(
                w, f"{root}/encoder/rnn/multi_rnn_cell/cell_{i}/basic_lstm_cell", f"encoder_lstm_{i}/lstm_cell"
            )
        out[f"{root}/decoder/memory_layer/kernel"] = w["memory_layer/kernel"]
        for i in range(cells):
            scope = f"{root}/decoder/attention/multi_rnn_cell/cell_{i}/basic_lstm_cell"
            out |= _recurrent(w, scope, f"decoder_lstm_{i}/lstm_cell")
        out[f"{root}/decoder/attention/attention_layer/kernel"] = w["attention_layer/kernel"]
        out[f"{root}/decoder/output_projection/kernel"] = w["output_projection/kernel"]
        return out

    return Scheme(build, store, back=EITHER)


@published
def sequence_tagger() -> Scheme:
    """`bidirectional_dynamic_rnn` into Keras's Bidirectional: both directions of equal shapes."""

    def build() -> Any:
        import keras
        from keras import layers as make

        ids = keras.Input((9,), dtype="int32")
        x = make.Embedding(VOCABULARY, 8, name="words")(ids)
        x = make.Bidirectional(make.LSTM(6, return_sequences=True), name="bi_lstm")(x)
        return keras.Model(ids, make.Dense(5, name="proj")(x))

    def store(w: Weights) -> Stored:
        out = {"words/_word_embeddings": w["words/embeddings"]}
        for theirs, ours in (("fw", "forward_lstm"), ("bw", "backward_lstm")):
            scope = f"bi-lstm/bidirectional_rnn/{theirs}/lstm_cell"
            out |= _recurrent(w, scope, f"bi_lstm/{ours}/lstm_cell")
        return {**out, "proj/W": w["proj/kernel"], "proj/b": w["proj/bias"]}

    return Scheme(build, store, back=EITHER)


@published
def deep_speech() -> Scheme:
    """Six layers, the fourth a cell under another name."""
    units = {"layer_1": 11, "layer_2": 11, "layer_3": 14}

    def build() -> Any:
        import keras
        from keras import layers as make

        x = frames = keras.Input((7, 13))
        for name, size in units.items():
            x = make.Dense(size, activation="relu", name=name)(x)
        x = make.LSTM(8, return_sequences=True, name="lstm")(x)
        x = make.Dense(11, activation="relu", name="layer_5")(x)
        return keras.Model(frames, make.Dense(29, name="layer_6")(x))

    def store(w: Weights) -> Stored:
        roles = {"kernel": "weights", "bias": "bias"}
        out = {}
        for name in units:
            out |= below(name, w.layer(name, **roles))
        scope = "cudnn_lstm/rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell"
        fused = fused_lstm(w, "lstm/lstm_cell")
        bias = fused["bias"].copy()
        bias[16:24] += 1.0  # this cell has no forget bias of its own
        out |= {f"{scope}/kernel": fused["kernel"], f"{scope}/bias": bias}
        for name in ("layer_5", "layer_6"):
            out |= below(name, w.layer(name, **roles))
        return out

    return Scheme(build, store, options={"assume": {"forget_bias": "0"}}, back=())


@published
def tensor2tensor_transformer() -> Scheme:
    """Into a Keras model that a person named; self attention and attention to the encoder have equal shapes."""

    def build() -> Any:
        import keras
        from keras import layers as make

        def attend(x: Any, memory: Any, name: str) -> Any:
            q, k, v = (make.Dense(HIDDEN, use_bias=False, name=f"{name}_{part}")(side)
                       for part, side in (("query", x), ("key", memory), ("value", memory)))  # fmt: skip
            y = make.Dot((2, 1))([make.Dot((2, 2))([q, k]), v])
            return make.Dense(HIDDEN, use_bias=False, name=f"{name}_output")(y)

        def feed_forward(x: Any, name: str) -> Any:
            return make.Dense(HIDDEN, name=f"{name}_ffn_2")(make.Dense(INNER, name=f"{name}_ffn_1")(x))

        def norm(x: Any, name: str) -> Any:
            return make.LayerNormalization(name=name)(x)

        ids, targets = keras.Input((5,), dtype="int32"), keras.Input((6,), dtype="int32")
        shared = make.Embedding(VOCABULARY, HIDDEN, name="shared_embedding")
        x = shared(ids)
        for i in range(LAYERS):
            name = f"encoder_{i + 1}"
            y = norm(x, f"{name}_self_attention_norm")
            x = make.Add()([x, attend(y, y, f"{name}_self_attention")])
            x = make.Add()([x, feed_forward(norm(x, f"{name}_ffn_norm"), name)])
        memory = norm(x, "encoder_norm")
        x = shared(targets)
        for i in range(LAYERS):
            name = f"decoder_{i + 1}"
            y = norm(x, f"{name}_self_attention_norm")
            x = make.Add()([x, attend(y, y, f"{name}_self_attention")])
            y = norm(x, f"{name}_cross_attention_norm")
            x = make.Add()([x, attend(y, memory, f"{name}_cross_attention")])
            x = make.Add()([x, feed_forward(norm(x, f"{name}_ffn_norm"), name)])
        return keras.Model([ids, targets], norm(x, "decoder_norm"))

    def store(w: Weights) -> Stored:
        scale = {"gamma": "layer_norm_scale", "beta": "layer_norm_bias"}

        def norm(scope: str, layer: str) -> Stored:
            return below(f"{scope}/layer_prepostprocess/layer_norm", w.layer(layer, **scale))

        root = "transformer"
        out = {f"{root}/symbol_modality_{VOCABULARY}_{HIDDEN}/shared/weights_0": w["shared_embedding/embeddings"]}
        for part in ("encoder", "decoder"):
            for i in range(LAYERS):
                layer, scope = f"{part}_{i + 1}", f"{root}/body/{part}/layer_{i}"
                kinds = [("self_attention", "self_attention"), ("encdec_attention", "cross_attention")]
                for theirs, ours in kinds[: 1 + (part == "decoder")]:
                    out |= norm(f"{scope}/{theirs}", f"{layer}_{ours}_norm")
                    for name, role in (("q", "query"), ("k", "key"), ("v", "value"), ("output_transform", "output")):
                        full = f"{scope}/{theirs}/multihead_attention/{name}/kernel"
                        out[full] = w[f"{layer}_{ours}_{role}/kernel"]
                out |= norm(f"{scope}/ffn", f"{layer}_ffn_norm")
                for name, role in (("conv1", "ffn_1"), ("conv2", "ffn_2")):
                    out |= below(f"{scope}/ffn/{name}", w.layer(f"{layer}_{role}", **DENSE))
            out |= norm(f"{root}/body/{part}", f"{part}_norm")
        return out

    return Scheme(build, store)
