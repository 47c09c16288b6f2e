"""`tf.nn.rnn_cell` and the cells of `tf.contrib.rnn`.

One kernel over the inputs and the state, LSTM gates `i j f o` (`j` is Keras's `g`), GRU gates `r u` (`u` is Keras's
`z`). LSTM cells add `forget_bias` to the forget gate when they run; it is not in the checkpoint. TensorFlow 1.0 and 1.1
say `weights` and `biases`, later releases `kernel` and `bias`.
"""

from __future__ import annotations

from ckptkit.conventions.rows import Native, Row

_CELLS = "tf_keras/src/layers/rnn/legacy_cells.py"
_CONTRIB = "tensorflow/contrib/rnn/python/ops"
_BOTH = ("kernel", "recurrent_kernel")
_RESET_AFTER = ("reset_after=True",)
_RESET_BEFORE = ("reset_after=False",)

_LSTM = (
    Native("kernel", _BOTH, "I+H igfo*H", aliases=("weights",)),
    Native("bias", ("bias",), "igf^o*H", aliases=("biases",)),
)
_GRU = (
    Native("gates/kernel", _BOTH, "I+H rz*H", aliases=("gates/weights",)),
    Native("gates/bias", ("bias",), "rz*H", aliases=("gates/biases",)),
    Native("candidate/kernel", _BOTH, "I+H n*H", aliases=("candidate/weights",)),
    Native("candidate/bias", ("bias",), "n*H", aliases=("candidate/biases",)),
)
_PROJECTED = (
    Native("kernel", _BOTH, "I+P igfo*H", aliases=("weights",)),
    Native("bias", ("bias",), "igf^o*H", aliases=("biases",)),
    Native("projection/kernel", ("projection_kernel",), "H P", aliases=("projection/weights",)),
)
_PEEPHOLES = (
    Native("w_f_diag", ("peephole_f",), "H"),
    Native("w_i_diag", ("peephole_i",), "H"),
    Native("w_o_diag", ("peephole_o",), "H"),
)
_NO_PEEPHOLES = "peephole connections: the gates would no longer see the cell state"
_NO_PROJECTION = "the projection of the output: the recurrent state would have another size"

ROWS: tuple[Row, ...] = (
    Row("rnn_cell", "SimpleRNN", "BasicRNNCell",
        (Native("kernel", _BOTH, "I+H H", aliases=("weights",)), Native("bias", ("bias",), "H", aliases=("biases",))),
        f"{_CELLS}, BasicRNNCell.build"),
    Row("rnn_cell", "LSTM", "BasicLSTMCell", _LSTM, f"{_CELLS}, BasicLSTMCell.build and call"),
    Row("rnn_cell", "LSTM", "LSTMCell", _LSTM, f"{_CELLS}, LSTMCell.build and call"),
    Row("rnn_cell", "LSTM", "LSTMBlockCell", _LSTM, f"{_CONTRIB}/lstm_ops.py, LSTMBlockCell: gates as BasicLSTMCell"),
    Row("rnn_cell", "LSTM", "CudnnCompatibleLSTMCell",
        (Native("kernel", _BOTH, "I+H igfo*H"), Native("bias", ("bias",), "igfo*H")),
        "tensorflow/contrib/cudnn_rnn/python/ops/cudnn_rnn_ops.py, CudnnCompatibleLSTMCell: LSTMBlockCell with forget_bias 0"),
    Row("rnn_cell", "LSTM", "LSTMCell(peepholes)", (*_LSTM, *_PEEPHOLES), f"{_CELLS}, LSTMCell with use_peepholes",
        lost=_NO_PEEPHOLES),
    Row("rnn_cell", "LSTM", "LSTMCell(projection)",
        _PROJECTED,
        f"{_CELLS}, LSTMCell with num_proj", lost=_NO_PROJECTION),
    Row("rnn_cell", "LSTM", "LSTMCell(peepholes, projection)",
        (*_PROJECTED, *_PEEPHOLES),
        f"{_CELLS}, LSTMCell with use_peepholes and num_proj", lost=f"{_NO_PEEPHOLES}; {_NO_PROJECTION}"),
    Row("rnn_cell", "LSTM", "LayerNormBasicLSTMCell",
        (
            Native("kernel", _BOTH, "I+H igfo*H", aliases=("weights",)),
            Native("bias", ("bias",), "igf^o*H", optional=True, aliases=("biases",)),
            Native("input/gamma", ("input_gamma",), "H"), Native("input/beta", ("input_beta",), "H"),
            Native("transform/gamma", ("transform_gamma",), "H"), Native("transform/beta", ("transform_beta",), "H"),
            Native("forget/gamma", ("forget_gamma",), "H"), Native("forget/beta", ("forget_beta",), "H"),
            Native("output/gamma", ("output_gamma",), "H"), Native("output/beta", ("output_beta",), "H"),
            Native("state/gamma", ("state_gamma",), "H"), Native("state/beta", ("state_beta",), "H"),
        ), f"{_CONTRIB}/rnn_cell.py, LayerNormBasicLSTMCell", lost="the layer normalisation of every gate and of the state"),
    Row("rnn_cell", "GRU", "GRUCell", _GRU, f"{_CELLS}, GRUCell.build and call", options=_RESET_BEFORE),
    Row("rnn_cell", "GRU", "GRUBlockCell",
        (
            Native("w_ru", _BOTH, "I+H rz*H"), Native("b_ru", ("bias",), "rz*H"),
            Native("w_c", _BOTH, "I+H n*H"), Native("b_c", ("bias",), "n*H"),
        ), f"{_CONTRIB}/gru_ops.py, GRUBlockCell", options=_RESET_BEFORE),
    Row("rnn_cell", "GRU", "CudnnCompatibleGRUCell",
        (
            Native("gates/kernel", _BOTH, "I+H rz*H"),
            Native("gates/bias", ("bias+recurrent_bias",), "rz*H"),
            Native("candidate/input_projection/kernel", ("kernel",), "I n*H"),
            Native("candidate/input_projection/bias", ("bias",), "n*H"),
            Native("candidate/hidden_projection/kernel", ("recurrent_kernel",), "H n*H"),
            Native("candidate/hidden_projection/bias", ("recurrent_bias",), "n*H"),
        ), "tensorflow/contrib/cudnn_rnn/python/ops/cudnn_rnn_ops.py, CudnnCompatibleGRUCell", options=_RESET_AFTER),
    Row("rnn_cell", "ConvLSTM1D", "ConvLSTMCell(1d)",
        (Native("kernel", _BOTH, "X I+O igfo*O"), Native("biases", ("bias",), "igf^o*O", optional=True)),
        f"{_CONTRIB}/rnn_cell.py, ConvLSTMCell"),
    Row("rnn_cell", "ConvLSTM2D", "ConvLSTMCell(2d)",
        (Native("kernel", _BOTH, "X Y I+O igfo*O"), Native("biases", ("bias",), "igf^o*O", optional=True)),
        f"{_CONTRIB}/rnn_cell.py, ConvLSTMCell"),
    Row("rnn_cell", "ConvLSTM3D", "ConvLSTMCell(3d)",
        (Native("kernel", _BOTH, "X Y Z I+O igfo*O"), Native("biases", ("bias",), "igf^o*O", optional=True)),
        f"{_CONTRIB}/rnn_cell.py, ConvLSTMCell"),
)  # fmt: skip
