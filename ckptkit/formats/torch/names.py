"""The closed list of names that mean something in a file of `torch.save`; whatever else a pickle wants is only shown.

Source: torch/_utils.py, torch/storage.py, torch/serialization.py and torch/_tensor.py of PyTorch 0.1 to 2.13;
numpy/_core/multiarray (`numpy.core` before NumPy 2).
"""

from __future__ import annotations

# torch/storage.py, `_dtype_to_storage_type_map`: class of a storage -> canonical dtype of its items
STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8",
    "BoolStorage": "bool", "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8", "QUInt8Storage": "quint8", "QInt32Storage": "qint32",
}  # fmt: skip
STORAGE_MODULES = ("torch", "torch.cuda", "torch.storage")
UNTYPED = frozenset({"torch.storage.UntypedStorage", "torch.storage._UntypedStorage", "torch.UntypedStorage"})

# `torch.<name>` -> canonical dtype
DTYPES = {
    "float32": "float32", "float": "float32", "float64": "float64", "double": "float64", "float16": "float16",
    "half": "float16", "bfloat16": "bfloat16", "complex64": "complex64", "cfloat": "complex64",
    "complex128": "complex128", "cdouble": "complex128", "uint8": "uint8", "uint16": "uint16", "uint32": "uint32",
    "uint64": "uint64", "int8": "int8", "int16": "int16", "short": "int16", "int32": "int32", "int": "int32",
    "int64": "int64", "long": "int64", "bool": "bool", "float8_e4m3fn": "float8_e4m3fn", "float8_e5m2": "float8_e5m2",
    "float8_e4m3fnuz": "float8_e4m3fnuz", "float8_e5m2fnuz": "float8_e5m2fnuz", "float8_e8m0fnu": "float8_e8m0fnu",
    "qint8": "qint8", "quint8": "quint8", "qint32": "qint32",
}  # fmt: skip

# Plain constants of torch: layouts, formats, quantisation schemes, and dtypes that ckptkit has no name for.
CONSTANTS = frozenset(
    f"torch.{name}"
    for name in (
        *DTYPES, "complex32", "chalf", "quint4x2", "quint2x4", "float4_e2m1fn_x2", "strided", "sparse_coo", "sparse_csr",
        "sparse_csc", "sparse_bsr", "sparse_bsc", "contiguous_format", "channels_last", "channels_last_3d",
        "preserve_format", "per_tensor_affine", "per_channel_affine", "per_tensor_symmetric", "per_channel_symmetric",
        "per_channel_affine_float_qparams",
    )
)  # fmt: skip

MAPPINGS = frozenset({"collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict"})
LISTS = frozenset({
    "torch.Size", "builtins.set", "builtins.frozenset", "builtins.list", "builtins.tuple", "__builtin__.set",
    "collections.deque",
})  # fmt: skip

# What training scripts keep beside the weights: settings, dates, paths. They are shown by name and never made; one that
# a tensor hides in is refused like everything else.
RECORDS = frozenset({
    "argparse.Namespace", "types.SimpleNamespace", "datetime.datetime", "datetime.date", "datetime.timedelta",
    "datetime.timezone", "pathlib.Path", "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib.PurePosixPath",
    "pathlib.PureWindowsPath", "pathlib._local.PosixPath", "pathlib._local.WindowsPath", "pathlib._local.Path",
    "uuid.UUID", "decimal.Decimal", "fractions.Fraction", "builtins.complex", "builtins.slice", "builtins.range",
    "builtins.bytearray", "__builtin__.complex", "__builtin__.slice", "__builtin__.xrange", "__builtin__.bytearray",
    "_io.BytesIO", "_codecs.encode", "torch.device", "torch.serialization._get_layout", "numpy.dtype",
    "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "torch.torch_version.TorchVersion",
    "lightning.fabric.utilities.data.AttributeDict", "lightning_fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict", "lightning.pytorch.utilities.parsing.AttributeDict",
    "omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig", "omegaconf.base.ContainerMetadata",
    "omegaconf.base.Metadata", "omegaconf.nodes.AnyNode", "omegaconf.nodes.StringNode", "omegaconf.nodes.IntegerNode",
    "omegaconf.nodes.FloatNode", "omegaconf.nodes.BooleanNode", "omegaconf.nodes.BytesNode", "omegaconf.nodes.PathNode",
})  # fmt: skip
# Classes that such records name and do not call.
NAMED = frozenset({
    "typing.Any", "builtins.dict", "builtins.list", "builtins.str", "builtins.int", "builtins.float", "builtins.bool",
    "__builtin__.dict", "__builtin__.list", "torch.Tensor", "torch.nn.parameter.Parameter", "numpy.ndarray",
    "collections.OrderedDict",
})  # fmt: skip

# Classes of tensors that are nothing but tensors.
TENSOR_CLASSES = frozenset({
    "torch.Tensor", "torch._tensor.Tensor", "torch.tensor.Tensor", "torch.nn.parameter.Parameter",
    "torch.nn.parameter.Buffer",
})  # fmt: skip
