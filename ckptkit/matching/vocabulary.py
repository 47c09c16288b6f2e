"""Words of the field that matching knows: what names nothing, what names a kind of layer, what stands for what."""

from __future__ import annotations

import re

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def snake_case(kind: str) -> str:
    """A class name as Keras makes a layer name of it: `BatchNormalization` is `batch_normalization`."""
    return _HUMP.sub("_", kind).lower()


# Words that containers and savers put into paths and no user chose (Keras's `.weights.h5` groups, tf.train.Checkpoint's
# edges, scopes of tf.nn.rnn_cell).
NOISE = frozenset({
    "api", "attributes", "checkpoint", "dependencies", "keras", "layers", "model", "object", "operations", "params",
    "stacked", "trackable", "variables", "vars", "weights", "with",
})  # fmt: skip

# Classes' own words, from which Keras, tf.layers, slim and Sonnet make names where the user gives none.
AUTOMATIC = frozenset({
    "activation", "average_pooling2d", "batch_norm", "batch_normalization", "batchnorm", "bidirectional", "conv",
    "conv1_d", "conv1d", "conv2_d", "conv2_d_transpose", "conv2d", "conv2d_transpose", "conv3d", "conv_1d", "conv_2d",
    "conv_3d", "conv_lstm2d", "convolution1d", "convolution2d", "dense", "depthwise_conv2d", "einsum_dense", "embed",
    "embedding", "embedding_lookup", "fully_connected", "functional", "group_norm", "group_normalization", "gru",
    "layer_norm", "layer_normalization", "layernorm", "linear", "lstm", "mlp", "model", "multi_head_attention",
    "p_re_lu", "prelu", "separable_conv1d", "separable_conv2d", "separableconv2d", "sequential", "simple_rnn",
    "time_distributed", "tpu_batch_normalization", "vanilla_rnn", "variable",
})  # fmt: skip

# What Keras calls models that nobody named: a layer within one is called nothing by it.
MODELS = frozenset({"functional", "sequential"})

# Words that say of which kind a layer is. Its shapes say that too, so that they tell layers apart only seldom.
KIND_WORDS = frozenset({
    "affine", "batch", "batchnorm", "batchnormalization", "bn", "cell", "connected", "conv", "conv1d", "conv2d",
    "conv3d", "convolution", "cudnn", "dense", "einsum", "emb", "embed", "embedding", "embeddings", "fc", "fully",
    "gru", "kernel", "layer", "layernorm", "linear", "ln", "lstm", "matmul", "multi", "norm", "normalization",
    "normalize", "rnn", "weight", "weights", "basic", "table", "block", "proj", "projection", "module", "net",
})  # fmt: skip

# What people write for one and the same thing; each row is one meaning. General to the field, and no model's own.
_SAME = (
    ("attention", "attn", "att"),
    ("batchnorm", "bn"),
    ("bias", "biases"),
    ("block", "blk"),
    ("classifier", "cls", "clf", "classification"),
    ("conv", "convolution", "conv1d", "conv2d", "conv3d"),
    ("decoder", "dec"),
    ("dense", "fc", "linear"),
    ("depthwise", "dw"),
    ("downsample", "down"),
    ("embedding", "embeddings", "embed", "emb"),
    ("encoder", "enc"),
    ("feedforward", "ffn", "mlp"),
    ("input", "in", "inp"),
    ("intermediate", "inner"),
    ("key", "k"),
    ("last", "head", "top", "classifier", "logits", "output", "out", "predictions", "preds"),
    ("first", "input", "inp", "in"),
    ("layer", "block", "blk", "h"),
    ("layernorm", "ln"),
    ("logits", "predictions", "preds", "pred"),
    ("normalization", "norm"),
    ("output", "out", "o"),
    ("pointwise", "pw"),
    ("pooler", "pooled", "pool"),
    ("position", "positional", "pos"),
    ("projection", "proj"),
    ("policy", "pi"),
    ("query", "q"),
    ("segment", "seg", "type"),
    ("separable", "sep"),
    ("shortcut", "skip", "downsample"),
    ("token", "tok", "word"),
    ("upsample", "up"),
    ("value", "v"),
)  # fmt: skip

MEANINGS: dict[str, frozenset[int]] = {}
for _number, _words in enumerate(_SAME):
    for _word in _words:
        MEANINGS[_word] = MEANINGS.get(_word, frozenset()) | {_number}


# Where in a block of a transformer a part stands (Vaswani et al. 2017, figure 1: attention, then the feed-forward network),
# for layers that one side numbers and the other calls by the part they belong to.
STAGES = {
    **dict.fromkeys(("attention", "attn", "att", "mha", "self"), 0),
    **dict.fromkeys(("cross", "encdec"), 1),
    **dict.fromkeys(("feedforward", "feed", "ffn", "mlp", "intermediate"), 2),
}
