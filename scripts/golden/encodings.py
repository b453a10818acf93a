"""Weights that are not plain initializers."""

import numpy as np
from onnx import TensorProto, numpy_helper

from .common import case, ints


def encodings():
    """Weights computed by nodes, or in other encodings."""
    conv = dict(x=(2, 3, 4, 5))
    case("weight_behind_reshape", 7, "w = Reshape(flat, s)\ny = Conv(x, w)", flat=(36,), s=ints(4, 3, 3, 1), **conv)
    case("weight_behind_reshape_matmul", 7, "f = Reshape(x, s)\nw = Reshape(box, t)\ny = MatMul(f, w)",
         x=(2, 2, 3, 2), s=ints(-1, 12), box=(2, 3, 2, 5), t=ints(12, 5))
    case("weight_behind_transpose", 13, "w = Transpose<perm=[3, 2, 0, 1]>(hwio)\ny = Conv(x, w, b)",
         hwio=(3, 2, 3, 4), b=(4,), **conv)
    case("weight_behind_transpose_gemm", 13, "w = Transpose(v)\ny = MatMul(x, w)", x=(2, 5), v=(4, 5))
    case("weight_behind_identity", 16, "w = Identity(v)\nc = Identity(b)\ny = Conv(x, w, c)",
         v=(4, 3, 2, 2), b=(4,), **conv)
    case("weight_shared_by_identity", 16, "w = Identity(v)\nt = Conv(x, v)\ny = Conv(t, w)", v=(3, 3, 2, 2), **conv)
    case("weight_behind_unsqueeze", 13, "s = Unsqueeze(v, a)\ny = Mul(x, s)", v=(3,), a=ints(1, 2), **conv)
    case("weight_behind_cast", 13, "w = Cast<to=1>(v)\ny = Conv(x, w)",
         v=np.arange(-9, 9, dtype=np.int64).reshape(2, 3, 3, 1), **conv)
    case("weight_scaled", 13, "w = Mul(v, s)\ny = Conv(x, w)", v=(2, 3, 2, 2), s=(2, 1, 1, 1), **conv)
    case("weight_in_constant_node", 11,
         "w = Constant<value=float[2,3,1,1] {0.5, -1.0, 2.0, 1.5, 0.0, -0.25}>()\ny = Conv(x, w)", **conv)

    def stored(field, as_type=None):
        """Stores the weight `w` in another field of the message, or as another type."""
        def edit(model):
            weight = next(t for t in model.graph.initializer if t.name == "w")
            array = numpy_helper.to_array(weight)
            weight.Clear()
            weight.name, weight.data_type = "w", as_type or TensorProto.FLOAT
            weight.dims.extend(array.shape)
            if field == "float_data":
                weight.float_data.extend(array.ravel().tolist())
            elif field == "double_data":
                weight.double_data.extend(array.astype(np.float64).ravel().tolist())
            elif field == "int32_data":
                weight.int32_data.extend(array.astype(np.float16).view(np.uint16).ravel().tolist())
            else:
                weight.raw_data = array.astype(np.float16).tobytes()
        return edit

    case("weight_float_data", 13, "y = Conv(x, w)", w=(2, 3, 2, 2), edit=stored("float_data"), **conv)
    half = "v = Cast<to=1>(w)\ny = Conv(x, v)"
    case("weight_float16_raw", 13, half, w=(2, 3, 2, 2), edit=stored("raw_data", TensorProto.FLOAT16), **conv)
    case("weight_float16_int32_data", 13, half, w=(2, 3, 2, 2), edit=stored("int32_data", TensorProto.FLOAT16), **conv)
    case("weight_double_data", 13, half, w=(2, 3, 2, 2), edit=stored("double_data", TensorProto.DOUBLE), **conv)
    # Small integers are exact in float16 and in float32.
    whole = lambda *shape: lambda rng: rng.integers(-8, 9, shape).astype(np.float32)
    case("network_in_float16", 13, "h = Cast<to=10>(x)\nt = Conv(h, w)\nr = Relu(t)\ny = Cast<to=1>(r)",
         x=whole(2, 3, 4, 5), w=whole(2, 3, 2, 2), edit=stored("raw_data", TensorProto.FLOAT16))
