"""The cases of make_golden_ops.py: single operators with awkward attributes, in every form that the
standard's history gave them, and the few-node graphs that exporters write around them.

A case is its nodes in ONNX's textual form, and its tensors: a name that begins with x is fed, another
one is an initializer; a tuple is a shape to fill at random, an array is itself. The first axis of a
fed tensor of rank 2 or more is the symbolic batch `N`, unless `fixed=True`. Outputs are the values
whose names begin with y.
"""

import numpy as np
from onnx import TensorProto, numpy_helper

LATEST = 24  # the newest opset that ONNX Runtime 1.32 calls released
CASES = {}


def case(name, opset, nodes, *, fixed=False, edit=None, formula=None, **tensors):
    """Adds the case NAME_opOPSET; `edit` may change the finished model (other encodings), `formula`
    computes the answers from the fed tensors where no runtime does it right."""
    name = f"{name}_op{opset}"
    assert name not in CASES, name
    CASES[name] = dict(opset=opset, nodes=nodes, fixed=fixed, edit=edit, formula=formula, tensors=tensors)


def each(name, opsets, nodes, **rest):
    """The same case at several opsets: nothing changed in between, and that must hold."""
    for opset in opsets:
        case(name, opset, nodes, **rest)


def positive(*shape):
    """Numbers in 0.1 .. 2."""
    return lambda rng: rng.uniform(0.1, 2.0, shape).astype(np.float32)


def small(*shape):
    """Numbers whose powers and exponentials stay tame."""
    return lambda rng: rng.uniform(-1.5, 1.5, shape).astype(np.float32)


def scaled(*shape):
    """Weights that keep what they sum at the size of what they read."""
    return lambda rng: (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def ints(*values):
    """A 1-D int64 tensor."""
    return np.array(values, np.int64)


def floats(*values):
    """A 1-D float tensor."""
    return np.array(values, np.float32)


def scalar(value, dtype=np.float32):
    """A tensor of rank 0."""
    return np.array(value, dtype)


def convolutions():
    """Conv, Gemm, MatMul."""
    each("conv_plain", (7, 11, 22), "y = Conv(x, w, b)", x=(2, 3, 6, 5), w=(4, 3, 3, 2), b=(4,))
    case("conv_no_bias", 11, "y = Conv<kernel_shape=[3, 3]>(x, w)", x=(2, 3, 5, 6), w=(5, 3, 3, 3))
    each(
        "conv_group2_pad_asym", (7, 11, LATEST),
        "y = Conv<group=2, kernel_shape=[3, 3], pads=[1, 0, 2, 1]>(x, w, b)",
        x=(2, 4, 5, 6), w=(6, 2, 3, 3), b=(6,),
    )
    case("conv_depthwise", 13, "y = Conv<group=5, pads=[1, 1, 1, 1]>(x, w, b)", x=(2, 5, 6, 4), w=(5, 1, 3, 3), b=(5,))
    case("conv_depthwise_multiplier2_stride2", 13, "y = Conv<group=3, strides=[2, 2], pads=[1, 1, 1, 1]>(x, w)",
         x=(2, 3, 7, 8), w=(6, 1, 3, 3))
    case("conv_depthwise_dilated5", 13, "y = Conv<group=2, dilations=[2, 1], pads=[4, 2, 4, 2]>(x, w, b)",
         x=(2, 2, 5, 6), w=(2, 1, 5, 5), b=(2,))
    case("conv_pointwise", 13, "y = Conv(x, w, b)", x=(2, 7, 3, 5), w=(9, 7, 1, 1), b=(9,))
    case("conv_pointwise_stride2", 13, "y = Conv<strides=[2, 2]>(x, w)", x=(2, 4, 5, 6), w=(3, 4, 1, 1))
    case("conv_pointwise_padded", 13, "y = Conv<pads=[1, 0, 0, 2]>(x, w, b)", x=(2, 2, 3, 3), w=(3, 2, 1, 1), b=(3,))
    case("conv_winograd_shape", 13, "y = Conv<pads=[1, 1, 1, 1]>(x, w, b)", x=(2, 17, 9, 7), w=(19, 17, 3, 3), b=(19,))
    case("conv_strides_differ", 11, "y = Conv<strides=[3, 2]>(x, w, b)", x=(2, 2, 10, 9), w=(3, 2, 4, 3), b=(3,))
    case("conv_dilated_asym", 11, "y = Conv<dilations=[2, 3], pads=[2, 0, 1, 4]>(x, w)", x=(2, 2, 7, 8), w=(3, 2, 3, 3))
    case("conv_kernel_as_large_as_image", 13, "y = Conv(x, w, b)", x=(2, 3, 4, 5), w=(6, 3, 4, 5), b=(6,))
    case("conv_kernel_larger_than_image", 13, "y = Conv<pads=[2, 2, 2, 2]>(x, w)", x=(2, 2, 3, 2), w=(3, 2, 5, 5))
    case("conv_7x7_stride2", 13, "y = Conv<strides=[2, 2], pads=[3, 3, 3, 3]>(x, w, b)", x=(2, 3, 9, 11), w=(4, 3, 7, 7), b=(4,))
    for mode in ("SAME_UPPER", "SAME_LOWER"):
        low = mode.lower()
        each(f"conv_{low}", (7, 13), f'y = Conv<auto_pad="{mode}", kernel_shape=[3, 4]>(x, w, b)',
             x=(2, 2, 6, 7), w=(3, 2, 3, 4), b=(3,))
        case(f"conv_{low}_stride2", 11, f'y = Conv<auto_pad="{mode}", strides=[2, 2]>(x, w)', x=(2, 2, 7, 6), w=(3, 2, 3, 2))
        case(f"conv_{low}_stride3_small_kernel", 11, f'y = Conv<auto_pad="{mode}", strides=[3, 3]>(x, w)',
             x=(2, 2, 8, 7), w=(3, 2, 2, 1))
    case("conv_same_upper_dilated", 11, 'y = Conv<auto_pad="SAME_UPPER", dilations=[2, 2]>(x, w)', x=(2, 2, 6, 7), w=(3, 2, 3, 2))
    case("conv_valid", 11, 'y = Conv<auto_pad="VALID", strides=[2, 1]>(x, w)', x=(2, 2, 6, 5), w=(3, 2, 3, 3))
    case("conv_notset", 11, 'y = Conv<auto_pad="NOTSET", pads=[0, 1, 0, 1]>(x, w)', x=(2, 2, 6, 5), w=(3, 2, 3, 3))
    each("conv1d", (7, 11), "y = Conv<pads=[2, 1], strides=[2], dilations=[2]>(x, w, b)", x=(2, 3, 11), w=(4, 3, 3), b=(4,))
    case("conv1d_group_same", 13, 'y = Conv<auto_pad="SAME_LOWER", group=2, strides=[2]>(x, w)', x=(2, 4, 7), w=(4, 2, 4))
    case("conv3d", 17, "y = Conv<pads=[1, 0, 1, 0, 1, 0]>(x, w, b)", x=(2, 2, 3, 4, 4), w=(3, 2, 2, 2, 3), b=(3,))
    case("conv_weight_is_data", 13, "y = Conv(x, x_w)", fixed=True, x=(2, 2, 4, 4), x_w=(3, 2, 3, 3))
    case("conv_twice_one_weight", 13, "t = Conv<pads=[1, 1, 1, 1]>(x, w, b)\nr = Relu(t)\ny = Conv<pads=[1, 1, 1, 1]>(r, w)",
         x=(2, 3, 4, 5), w=(3, 3, 3, 3), b=(3,))

    each("gemm_plain", (7, 9, 11, 13), "y = Gemm(x, w, c)", x=(2, 5), w=(5, 4), c=(4,))
    case("gemm_transb_alpha_beta", 7, "y = Gemm<transB=1, alpha=0.5, beta=-1.5>(x, w, c)", x=(2, 5), w=(4, 5), c=(4,))
    case("gemm_beta_zero", 9, "y = Gemm<transB=1, beta=0.0>(x, w, c)", x=(2, 5), w=(4, 5), c=(4,))
    case("gemm_c_row", 11, "y = Gemm<alpha=2.0>(x, w, c)", x=(2, 5), w=(5, 4), c=(1, 4))
    case("gemm_c_column", 11, "y = Gemm<beta=3.0>(x, w, c)", fixed=True, x=(3, 5), w=(5, 4), c=(3, 1))
    case("gemm_c_one", 11, "y = Gemm(x, w, c)", x=(2, 5), w=(5, 4), c=(1,))
    case("gemm_c_scalar", 11, "y = Gemm<transB=1>(x, w, c)", x=(2, 5), w=(4, 5), c=())
    case("gemm_c_full", 11, "y = Gemm(x, w, c)", fixed=True, x=(3, 5), w=(5, 4), c=(3, 4))
    each("gemm_c_absent", (11, 13), "y = Gemm<transB=1, alpha=-0.25>(x, w)", x=(2, 5), w=(4, 5))
    case("gemm_transa", 13, "y = Gemm<transA=1>(x, w, c)", fixed=True, x=(5, 3), w=(5, 4), c=(4,))
    case("gemm_transa_transb", 13, "y = Gemm<transA=1, transB=1, alpha=0.5>(x, w)", fixed=True, x=(5, 3), w=(4, 5))
    case("gemm_b_is_data", 13, "y = Gemm(x, x_b, c)", fixed=True, x=(2, 5), x_b=(5, 4), c=(4,))
    case("gemm_a_is_constant", 13, "y = Gemm(w, x)", fixed=True, x=(5, 3), w=(4, 5))

    each("matmul_2d", (7, 9, 13), "y = MatMul(x, w)", x=(2, 5), w=(5, 3))
    case("matmul_3d_by_2d", 13, "y = MatMul(x, w)", x=(2, 4, 5), w=(5, 3))
    case("matmul_4d_by_4d_data", 13, "y = MatMul(x_a, x_b)", x_a=(2, 3, 4, 5), x_b=(2, 3, 5, 2))
    case("matmul_4d_self_transposed", 13, "t = Transpose<perm=[0, 1, 3, 2]>(x)\ny = MatMul(x, t)", x=(2, 2, 3, 4))
    case("matmul_batch_broadcast", 13, "y = MatMul(x, w)", x=(2, 3, 4, 5), w=(3, 5, 2))
    case("matmul_batch_broadcast_ones", 13, "y = MatMul(x, w)", x=(2, 1, 4, 5), w=(1, 3, 5, 2))
    case("matmul_constant_first", 13, "y = MatMul(w, x)", x=(2, 5, 3), w=(4, 5))
    case("matmul_by_vector", 13, "y = MatMul(x, w)", x=(2, 4, 5), w=(5,))
    case("matmul_vector_first", 13, "y = MatMul(w, x)", x=(2, 5, 3), w=(5,))
    case("matmul_vectors", 13, "y = MatMul(x, w)", fixed=True, x=(5,), w=(5,))


def normalisations():
    """BatchNormalization, LRN, Softmax, LogSoftmax and their rarer kin."""
    bn = dict(s=(3,), b=(3,), m=(3,), v=positive(3))
    each("batchnorm", (7, 9, 14, 15), "y = BatchNormalization(x, s, b, m, v)", x=(2, 3, 4, 5), **bn)
    each("batchnorm_epsilon", (9, 15), "y = BatchNormalization<epsilon=0.3, momentum=0.5>(x, s, b, m, v)", x=(2, 3, 4, 5), **bn)
    case("batchnorm_spatial", 7, "y = BatchNormalization<spatial=1, epsilon=0.001>(x, s, b, m, v)", x=(2, 3, 4, 5), **bn)
    case("batchnorm_2d", 15, "y = BatchNormalization(x, s, b, m, v)", x=(2, 3), **bn)
    case("batchnorm_3d", 9, "y = BatchNormalization(x, s, b, m, v)", x=(2, 3, 7), **bn)
    case("conv_batchnorm_relu", 15,
         "t = Conv<pads=[1, 1, 1, 1]>(x, w, c)\nn = BatchNormalization(t, s, b, m, v)\ny = Relu(n)",
         x=(2, 2, 4, 5), w=(3, 2, 3, 3), c=(3,), **bn)
    each("lrn_size3", (7, 13), "y = LRN<size=3, alpha=0.05, beta=0.5, bias=2.0>(x)", x=(2, 5, 3, 4))
    case("lrn_defaults_size5", 13, "y = LRN<size=5>(x)", x=(2, 7, 3, 3))
    case("lrn_wider_than_channels", 13, "y = LRN<size=7, alpha=1.0>(x)", x=(2, 3, 3, 3))
    case("lrn_size1", 13, "y = LRN<size=1, alpha=0.5>(x)", x=(2, 3, 3, 3))

    def lrn_even(x):
        """The standard's formula: ONNX Runtime refuses even sizes, onnx.reference gets LRN wrong."""
        def window(c):
            return slice(max(0, c - 1), min(x.shape[1], c + 3))  # floor((4 - 1) / 2), ceil((4 - 1) / 2)
        sums = [np.square(x[:, window(c)], dtype=np.float64).sum(1) for c in range(x.shape[1])]
        return [x / (1 + 0.5 / 4 * np.stack(sums, 1)) ** 0.75]

    case("lrn_even", 13, "y = LRN<size=4, alpha=0.5>(x)", formula=lrn_even, x=(2, 6, 3, 3))
    for op in ("Softmax", "LogSoftmax"):
        low = op.lower()
        # Up to opset 12 everything from the axis on is one row.
        each(f"{low}_default_4d", (7, 11, 12), f"y = {op}(x)", x=(2, 3, 2, 4))
        case(f"{low}_axis2_4d", 11, f"y = {op}<axis=2>(x)", x=(2, 3, 2, 4))
        case(f"{low}_negative_axis_4d", 12, f"y = {op}<axis=-2>(x)", x=(2, 3, 2, 4))
        each(f"{low}_default_4d", (13, LATEST), f"y = {op}(x)", x=(2, 3, 2, 4))
        case(f"{low}_axis1_4d", 13, f"y = {op}<axis=1>(x)", x=(2, 3, 2, 4))
        case(f"{low}_2d", 7, f"y = {op}<axis=1>(x)", x=(2, 6))
        case(f"{low}_large_values", 13, f"y = {op}<axis=-1>(x)", fixed=True,
             x=np.array([[1000, 999, -1000], [-2000, -2001, -2000.5]], np.float32))
    case("instancenorm", 17, "y = InstanceNormalization<epsilon=0.01>(x, s, b)", x=(2, 3, 4, 5), s=(3,), b=(3,))


def activations():
    """One value in, one value out."""
    big = (2, 3, 4, 5)
    each("relu", (7, 13, 14), "y = Relu(x)", x=big)
    each("leakyrelu", (7, 16), "y = LeakyRelu(x)", x=big)
    each("leakyrelu_alpha", (7, 16), "y = LeakyRelu<alpha=0.3>(x)", x=big)
    case("leakyrelu_alpha_above_one", 16, "y = LeakyRelu<alpha=1.5>(x)", x=big)
    case("clip_attributes", 7, "y = Clip<min=-0.5, max=0.7>(x)", x=big)
    case("clip_min_attribute", 10, "y = Clip<min=0.1>(x)", x=big)
    case("clip_no_attribute", 9, "y = Clip(x)", x=big)
    each("clip_inputs", (11, 12, 13), "y = Clip(x, lo, hi)", x=big, lo=scalar(0.0), hi=scalar(0.6))
    case("clip_only_max", 11, "y = Clip(x, , hi)", x=big, hi=scalar(0.6))
    case("clip_only_min", 13, "y = Clip(x, lo)", x=big, lo=scalar(-0.2))
    case("clip_no_bounds", 13, "y = Clip(x)", x=big)
    case("clip_constant_nodes", 13, "lo = Constant<value_float=-0.25>()\nhi = Constant<value=float {0.75}>()\ny = Clip(x, lo, hi)", x=big)
    for op in ("Sigmoid", "Tanh", "Exp"):
        each(op.lower(), (7, 13), f"y = {op}(x)", x=small(*big))
    case("sigmoid_saturated", 13, "y = Sigmoid(x)", fixed=True, x=np.array([[-200, -90, -30, 0, 30, 90, 200]], np.float32))
    case("tanh_saturated", 13, "y = Tanh(x)", fixed=True, x=np.array([[-200, -20, -1e-4, 0, 1e-4, 20, 200]], np.float32))
    each("sqrt", (7, 13), "y = Sqrt(x)", x=positive(*big))
    case("log", 13, "y = Log(x)", x=positive(*big))
    for op in ("Neg", "Abs", "Floor", "Ceil", "Reciprocal"):
        case(op.lower(), 13, f"y = {op}(x)", x=positive(*big) if op == "Reciprocal" else big)
    each("hardsigmoid", (7, 22), "y = HardSigmoid(x)", x=big)
    case("hardsigmoid_given", 7, "y = HardSigmoid<alpha=0.1666667, beta=0.4>(x)", x=(2, 3, 6, 5))
    each("hardswish", (14, 22), "y = HardSwish(x)", x=(2, 3, 6, 5))
    case("hardswish_composed", 11, "s = Add(x, c)\nr = Clip(s, lo, hi)\nd = Div(r, hi)\ny = Mul(x, d)",
         x=big, c=scalar(3.0), lo=scalar(0.0), hi=scalar(6.0))
    case("silu_composed", 11, "s = Sigmoid(x)\ny = Mul(x, s)", x=big)
    for op, attributes in (("Elu", "<alpha=0.7>"), ("Selu", ""), ("Softplus", ""), ("Softsign", ""), ("Erf", "")):
        case(op.lower(), 13, f"y = {op}{attributes}(x)", x=small(*big))
    case("gelu", 20, "y = Gelu(x)", x=small(*big))
    case("mish", 18, "y = Mish(x)", x=small(*big))
    case("prelu", 16, "y = PRelu(x, slope)", x=big, slope=positive(3, 1, 1))
    case("prelu_shared", 7, "y = PRelu(x, slope)", x=big, slope=positive(1))
    each("pow_scalar", (7, 13), "y = Pow(x, e)", x=positive(*big), e=scalar(1.5))
    case("pow_negative_base_squared", 13, "y = Pow(x, e)", x=small(*big), e=scalar(2.0))
    case("pow_int_exponent", 12, "y = Pow(x, e)", x=small(*big), e=ints(3))
    case("pow_channel_exponent", 15, "y = Pow(x, e)", x=positive(*big), e=np.array([0.5, 2, -1], np.float32).reshape(3, 1, 1))
    each("identity", (7, 13, 14, 21), "t = Identity(x)\ny = Relu(t)", x=big)
    case("identity_to_output", 13, "y = Identity(x)", x=big)
    case("dropout_ratio", 7, "y = Dropout<ratio=0.4>(x)", x=big)
    case("dropout_ratio", 10, "y, mask = Dropout<ratio=0.4>(x)", x=big)
    each("dropout_inputs", (12, 13), "y = Dropout(x, r)", x=big, r=scalar(0.4))
    case("dropout_mask_unused", 13, "t, mask = Dropout<seed=3>(x, r)\ny = Relu(t)", x=big, r=scalar(0.4))
    case("dropout_training_false", 13, "y = Dropout(x, r, t)", x=big, r=scalar(0.4), t=scalar(False, np.bool_))
    each("cast_truncates", (9, 13, 19), "i = Cast<to=7>(x)\ny = Cast<to=1>(i)", x=lambda r: r.uniform(-5, 5, (2, 3, 4)).astype(np.float32))
    case("cast_bool", 13, "b = Cast<to=9>(x)\ny = Cast<to=1>(b)", fixed=True, x=np.array([[0, -0.0, 0.5, -2, 0, 7]], np.float32))
    case("cast_no_change", 13, "t = Cast<to=1>(x)\ny = Relu(t)", x=big)


def pools():
    """MaxPool, AveragePool and the global ones."""
    each("maxpool_plain", (7, 8, 10, 12, 22), "y = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(x)", x=(2, 3, 6, 7))
    case("maxpool_default_strides", 8, "y = MaxPool<kernel_shape=[2, 3]>(x)", x=(2, 3, 5, 6))
    case("maxpool_pad_asym", 11, "y = MaxPool<kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]>(x)", x=(2, 3, 6, 6))
    case("maxpool_pads_all_negative_image", 11, "y = MaxPool<kernel_shape=[3, 3], pads=[1, 1, 1, 1]>(x)",
         x=lambda r: r.uniform(-9, -1, (2, 2, 3, 4)).astype(np.float32))
    each("maxpool_ceil", (10, 12, 22), "y = MaxPool<kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1>(x)", x=(2, 3, 6, 8))
    # The last window of ceil_mode would lie in the padding altogether: it must not exist.
    case("maxpool_ceil_window_in_padding", 12, "y = MaxPool<kernel_shape=[2, 2], strides=[3, 3], pads=[1, 1, 1, 1], ceil_mode=1>(x)", x=(2, 2, 5, 4))
    case("maxpool_ceil_padded", 12, "y = MaxPool<kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1>(x)", x=(2, 2, 6, 7))
    each("maxpool_dilated", (10, 12), "y = MaxPool<kernel_shape=[2, 3], dilations=[2, 2], strides=[1, 2], pads=[1, 1, 0, 2]>(x)", x=(2, 2, 6, 8))
    for pool in ("MaxPool", "AveragePool"):
        for mode in ("SAME_UPPER", "SAME_LOWER", "VALID"):
            case(f"{pool.lower()}_{mode.lower()}", 10, f'y = {pool}<kernel_shape=[3, 2], strides=[2, 2], auto_pad="{mode}">(x)', x=(2, 2, 6, 7))
        case(f"{pool.lower()}1d", 11, f"y = {pool}<kernel_shape=[3], strides=[2], pads=[1, 0]>(x)", x=(2, 3, 8))
    case("maxpool_same_upper_stride1", 7, 'y = MaxPool<kernel_shape=[2, 2], strides=[1, 1], auto_pad="SAME_UPPER">(x)', x=(2, 2, 4, 5))
    each("averagepool_plain", (7, 10, 11, 19, 22), "y = AveragePool<kernel_shape=[2, 2], strides=[2, 2]>(x)", x=(2, 3, 6, 7))
    for include in (0, 1):
        each(f"averagepool_include_pad{include}", (7, 11, 19),
             f"y = AveragePool<kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad={include}>(x)", x=(2, 3, 6, 7))
        case(f"averagepool_include_pad{include}_asym", 13,
             f"y = AveragePool<kernel_shape=[3, 2], pads=[0, 1, 2, 0], count_include_pad={include}>(x)", x=(2, 3, 5, 6))
        case(f"averagepool_ceil_include_pad{include}", 19,
             f"y = AveragePool<kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1, count_include_pad={include}>(x)", x=(2, 2, 6, 8))
    case("averagepool_ceil", 19, "y = AveragePool<kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1>(x)", x=(2, 2, 5, 7))
    case("averagepool_dilated", 19, "y = AveragePool<kernel_shape=[2, 2], dilations=[2, 3]>(x)", x=(2, 2, 6, 7))
    for pool in ("GlobalAveragePool", "GlobalMaxPool"):
        each(f"{pool.lower()}", (7, 22), f"y = {pool}(x)", x=(2, 3, 4, 5))
        case(f"{pool.lower()}_1d", 13, f"y = {pool}(x)", x=(2, 3, 7))
        case(f"{pool.lower()}_1x1", 13, f"y = {pool}(x)", x=(2, 3, 1, 1))


def arithmetic():
    """Add, Sub, Mul, Div and other binary operators, with broadcasting."""
    image = (2, 3, 4, 5)
    for op in ("Add", "Sub", "Mul", "Div"):
        low, other = op.lower(), positive if op == "Div" else lambda *s: s
        each(f"{low}_same_shape", (7, 14), f"y = {op}(x_a, x_b)", x_a=image, x_b=other(*image))
        case(f"{low}_scalar", 7, f"y = {op}(x, c)", x=image, c=other())
        case(f"{low}_channel", 13, f"y = {op}(x, c)", x=image, c=other(3, 1, 1))
        case(f"{low}_constant_first", 13, f"y = {op}(c, x)", x=positive(*image), c=(3, 1, 1))
        case(f"{low}_gate", 13, f"y = {op}(x, x_gate)", x=image, x_gate=other(2, 3, 1, 1))
    case("add_row", 7, "y = Add(x, c)", x=image, c=(5,))
    case("add_one_element", 7, "y = Add(x, c)", x=image, c=(1,))
    case("add_constant_of_higher_rank", 13, "y = Add(x, c)", x=(2, 5), c=(1, 3, 1, 5), fixed=True)
    case("sub_scalar_first", 13, "y = Sub(c, x)", x=image, c=())
    case("div_scalar_first", 13, "y = Div(c, x)", x=positive(*image), c=())
    case("mul_both_broadcast", 13, "y = Mul(x_a, x_b)", x_a=(2, 3, 1, 5), x_b=(2, 1, 4, 1))
    case("add_gate_first", 13, "y = Add(x_gate, x)", x_gate=(2, 3, 1, 1), x=image)
    case("mul_spatial_gate", 13, "y = Mul(x, x_gate)", x=image, x_gate=(2, 1, 4, 5))
    case("add_to_itself", 13, "y = Add(x, x)", x=image)
    case("add_pooled_gate", 13, "g = GlobalAveragePool(x)\ns = Sigmoid(g)\ny = Mul(s, x)", x=image)
    for op in ("Max", "Min", "Sum", "Mean"):
        case(f"{op.lower()}_three", 13, f"y = {op}(x_a, x_b, c)", x_a=image, x_b=image, c=(3, 1, 1))
    case("equal_where", 13, "m = Equal(x, z)\ny = Where(m, c, x)", x=np.round(np.linspace(-2, 2, 24)).astype(np.float32).reshape(2, 3, 4),
         z=scalar(0.0), c=scalar(9.0))
    case("where_constant_mask", 9, "y = Where(m, x, c)", x=(2, 3, 4), m=np.array([True, False, True, True]), c=(3, 1))


def movements():
    """Operators that only move data."""
    image = (2, 4, 3, 5)
    each("concat_axis1", (7, 11, 13), "y = Concat<axis=1>(x_a, x_b)", x_a=(2, 3, 4, 2), x_b=(2, 2, 4, 2))
    case("concat_last", 11, "y = Concat<axis=-1>(x_a, x_b, x_a)", x_a=(2, 3, 2), x_b=(2, 3, 4))
    case("concat_axis2", 7, "y = Concat<axis=2>(x_a, x_b)", x_a=(2, 3, 4, 2), x_b=(2, 3, 1, 2))
    case("concat_axis0", 13, "y = Concat<axis=0>(x_a, x_b)", fixed=True, x_a=(2, 3), x_b=(1, 3))
    case("concat_constant", 13, "y = Concat<axis=1>(c, x, c)", fixed=True, x=(2, 3, 2), c=(2, 1, 2))
    case("concat_one", 13, "y = Concat<axis=1>(x)", x=(2, 3, 2))
    case("split_equal", 7, "y_a, y_b = Split<axis=1>(x)", x=image)
    case("split_default_axis", 11, "y_a, y_b = Split(x)", fixed=True, x=(4, 3))
    each("split_attr_unequal", (7, 11), "y_a, y_b, y_c = Split<axis=1, split=[1, 2, 1]>(x)", x=image)
    case("split_attr_negative_axis", 12, "y_a, y_b = Split<axis=-1, split=[4, 1]>(x)", x=image)
    each("split_input", (13, 18), "y_a, y_b = Split<axis=1>(x, s)", x=image, s=ints(3, 1))
    case("split_input_absent", 13, "y_a, y_b = Split<axis=-3>(x)", x=image)
    case("split_num_outputs", 18, "y_a, y_b = Split<axis=1, num_outputs=2>(x)", x=image)
    case("split_num_outputs_uneven", 18, "y_a, y_b, y_c = Split<axis=-1, num_outputs=3>(x)", x=image)
    case("split_one_unused", 13, "a, b = Split<axis=1>(x, s)\ny = Relu(b)", x=image, s=ints(1, 3))
    each("slice_attr", (7, 9), "y = Slice<axes=[1, 3], starts=[1, 0], ends=[3, 4]>(x)", x=image)
    case("slice_attr_negative", 9, "y = Slice<axes=[3, 1], starts=[-4, -3], ends=[-1, 9223372036854775807]>(x)", x=image)
    case("slice_attr_no_axes", 7, "y = Slice<starts=[0, 1, 0], ends=[2, 100, 2]>(x)", fixed=True, x=image)
    each("slice_input", (10, 11, 13), "y = Slice(x, s, e, a)", x=image, s=ints(1, 0), e=ints(3, 4), a=ints(1, 3))
    case("slice_steps", 10, "y = Slice(x, s, e, a, t)", x=(2, 4, 6, 7), s=ints(0, 1), e=ints(2**63 - 1, 2**63 - 1), a=ints(2, 3), t=ints(2, 3))
    case("slice_reverse", 13, "y = Slice(x, s, e, a, t)", x=image, s=ints(-1, 4), e=ints(-(2**63), 0), a=ints(1, -1), t=ints(-1, -2))
    case("slice_negative_axis", 11, "y = Slice(x, s, e, a)", x=image, s=ints(-3), e=ints(-1), a=ints(-3))
    case("slice_no_axes", 13, "y = Slice(x, s, e)", fixed=True, x=image, s=ints(0, -2), e=ints(2**63 - 1, 2**63 - 1))
    case("slice_int32_indices", 13, "y = Slice(x, s, e, a)", x=image, s=np.array([1], np.int32), e=np.array([3], np.int32), a=np.array([1], np.int32))
    case("slice_out_of_range_clamps", 13, "y = Slice(x, s, e, a)", x=image, s=ints(-100), e=ints(100), a=ints(2))
    case("pad_attr_constant", 7, "y = Pad<pads=[0, 1, 2, 0, 0, 3, 0, 1], value=-1.5>(x)", x=image)
    case("pad_attr_reflect", 7, 'y = Pad<mode="reflect", pads=[0, 0, 2, 1, 0, 0, 1, 3]>(x)', x=image)
    case("pad_attr_edge", 10, 'y = Pad<mode="edge", pads=[0, 1, 2, 1, 0, 0, 1, 3]>(x)', x=image)
    case("pad_attr_crop", 7, "y = Pad<pads=[0, -1, 0, 1, 0, 0, -1, -2]>(x)", x=image)
    each("pad_input", (11, 13, 18), "y = Pad(x, p, v)", x=image, p=ints(0, 1, 0, 2, 0, 2, 1, 0), v=scalar(0.5))
    case("pad_input_no_value", 13, "y = Pad(x, p)", x=image, p=ints(0, 2, 0, 0, 0, 2, 0, 0))
    for mode in ("reflect", "edge"):
        case(f"pad_{mode}", 13, f'y = Pad<mode="{mode}">(x, p)', x=image, p=ints(0, 0, 1, 2, 0, 0, 2, 3))
        case(f"pad_{mode}_channels", 13, f'y = Pad<mode="{mode}">(x, p)', x=image, p=ints(0, 2, 0, 0, 0, 1, 0, 0))
    case("pad_axes", 18, "y = Pad(x, p, v, a)", x=image, p=ints(1, 0, 0, 2), v=scalar(-2.0), a=ints(1, -1))
    case("pad_axes_no_value", 21, "y = Pad(x, p, , a)", x=image, p=ints(1, 2), a=ints(2))
    case("pad_wrap", 19, 'y = Pad<mode="wrap">(x, p)', x=image, p=ints(0, 0, 1, 2, 0, 0, 2, 0))
    case("pad_crop", 13, "y = Pad(x, p)", x=image, p=ints(0, -1, 0, -2, 0, -1, 1, 0))
    for axis in (0, 1, 2, 4):
        case(f"flatten_axis{axis}", 9, f"y = Flatten<axis={axis}>(x)", fixed=axis == 0, x=image)
    case("flatten_default", 7, "y = Flatten(x)", x=image)
    each("flatten_negative_axis", (11, 13), "y = Flatten<axis=-1>(x)", x=image)
    each("reshape_zero_and_rest", (7, 13, 14, 21), "y = Reshape(x, s)", x=image, s=ints(0, -1, 5))
    case("reshape_fixed_batch", 13, "y = Reshape(x, s)", fixed=True, x=image, s=ints(2, 6, 10))
    case("reshape_batch_from_rest", 13, "y = Reshape(x, s)", x=image, s=ints(-1, 60))
    case("reshape_to_more_axes", 13, "y = Reshape(x, s)", x=image, s=ints(0, 2, 2, 3, 5))
    case("reshape_allowzero", 14, "y = Reshape<allowzero=1>(x, s)", x=image, s=ints(-1, 3, 4, 5))
    each("transpose_default", (7, 13), "y = Transpose(x)", fixed=True, x=(2, 3, 4))
    each("transpose_nhwc", (7, 13), "y = Transpose<perm=[0, 2, 3, 1]>(x)", x=image)
    case("transpose_5d", 13, "y = Transpose<perm=[0, 2, 1, 4, 3]>(x)", x=(2, 3, 4, 2, 2))
    case("transpose_batch_moves", 13, "y = Transpose<perm=[1, 0, 2]>(x)", fixed=True, x=(2, 3, 4))
    case("channel_shuffle", 13, "a = Reshape(x, s)\nb = Transpose<perm=[0, 2, 1, 3, 4]>(a)\ny = Reshape(b, t)",
         x=(2, 6, 2, 3), s=ints(0, 2, 3, 2, 3), t=ints(0, 6, 2, 3))
    each("squeeze_attr", (7, 11), "y = Squeeze<axes=[2, 3]>(x)", x=(2, 3, 1, 1))
    case("squeeze_attr_negative", 12, "y = Squeeze<axes=[-1]>(x)", x=(2, 3, 1, 1))
    each("squeeze_input", (13, 21), "y = Squeeze(x, a)", x=(2, 3, 1, 1), a=ints(-1, 2))
    case("squeeze_no_axes", 7, "y = Squeeze(x)", fixed=True, x=(2, 1, 3, 1))
    case("squeeze_no_axes", 13, "y = Squeeze(x)", fixed=True, x=(2, 1, 3, 1))
    each("unsqueeze_attr", (7, 11), "y = Unsqueeze<axes=[1, 3]>(x)", x=(2, 3))
    case("unsqueeze_attr_negative", 12, "y = Unsqueeze<axes=[-1, 1]>(x)", x=(2, 3))
    each("unsqueeze_input", (13, 21), "y = Unsqueeze(x, a)", x=(2, 3), a=ints(2, 3))
    case("unsqueeze_input_negative", 13, "y = Unsqueeze(x, a)", x=(2, 3), a=ints(-1, -3))
    each("expand_constant", (8, 13), "e = Expand(c, s)\ny = Add(x, e)", x=(2, 3, 4), c=(3, 1), s=ints(1, 3, 4))
    case("expand_data", 13, "y = Expand(x, s)", x=(2, 3, 1, 1), s=ints(1, 1, 4, 5))
    case("expand_to_shape_of_other", 13, "s = Shape(x)\ne = Expand(x_g, s)\ny = Mul(x, e)", x=image, x_g=(2, 4, 1, 1))
    each("gather_channels", (7, 11, 13), "y = Gather<axis=1>(x, i)", x=image, i=ints(2, 0, 0, 3))
    case("gather_negative_index", 13, "y = Gather<axis=1>(x, i)", x=image, i=ints(-1, 1))
    case("gather_scalar_index", 13, "y = Gather<axis=2>(x, i)", x=image, i=scalar(1, np.int64))
    case("gather_2d_indices", 13, "y = Gather<axis=-1>(x, i)", x=image, i=np.array([[0, 4], [-2, 1], [3, 3]], np.int64))
    case("gather_default_axis", 13, "y = Gather(c, i)\ny_2 = Relu(x)", x=(2, 3), c=(4, 3), i=ints(1, 3))
    case("depthtospace", 7, "y = DepthToSpace<blocksize=2>(x)", x=(2, 8, 2, 3))
    for mode in ("DCR", "CRD"):
        each(f"depthtospace_{mode.lower()}", (11, 13), f'y = DepthToSpace<blocksize=2, mode="{mode}">(x)', x=(2, 12, 2, 3))
    case("depthtospace_crd_3", 13, 'y = DepthToSpace<blocksize=3, mode="CRD">(x)', x=(2, 9, 2, 2))
    each("spacetodepth", (7, 13), "y = SpaceToDepth<blocksize=2>(x)", x=(2, 3, 4, 6))
    case("tile", 13, "y = Tile(x, r)", x=(2, 3, 2), r=ints(1, 2, 3))
    case("conv_transpose", 11, "y = ConvTranspose<strides=[2, 2], pads=[1, 0, 0, 1], output_padding=[1, 0]>(x, w, b)",
         x=(2, 3, 3, 4), w=(3, 2, 3, 3), b=(2,))
    case("resize_nearest", 13, 'y = Resize<mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor">(x, , s)',
         x=(2, 3, 2, 3), s=floats(1, 1, 2, 2))
    case("resize_linear", 13, 'y = Resize<mode="linear", coordinate_transformation_mode="half_pixel">(x, , s)', x=(2, 3, 2, 3), s=floats(1, 1, 2, 2))
    case("upsample_nearest", 9, 'y = Upsample<mode="nearest">(x, s)', x=(2, 3, 2, 3), s=floats(1, 1, 2, 2))


def reductions():
    """ReduceMean, ReduceSum, ReduceMax: axes as an attribute, then as an input."""
    image = (2, 3, 4, 5)
    for op, moved in (("ReduceMean", 18), ("ReduceSum", 13), ("ReduceMax", 18)):
        low = op.lower()
        each(f"{low}_spatial", (7, 11, moved - 1), f"y = {op}<axes=[2, 3]>(x)", x=image)
        case(f"{low}_drop", 7, f"y = {op}<axes=[2, 3], keepdims=0>(x)", x=image)
        case(f"{low}_negative", 11, f"y = {op}<axes=[-1, -3], keepdims=0>(x)", x=image)
        case(f"{low}_channels", 11, f"y = {op}<axes=[1], keepdims=1>(x)", x=image)
        case(f"{low}_all", 11, f"y = {op}<keepdims=0>(x)", fixed=True, x=image)
        case(f"{low}_all_keep", 7, f"y = {op}(x)", fixed=True, x=(2, 3, 4))
        each(f"{low}_input_axes", (moved, max(20, moved)), f"y = {op}(x, a)", x=image, a=ints(2, 3))
        case(f"{low}_input_axes_drop", moved, f"y = {op}<keepdims=0>(x, a)", x=image, a=ints(-1, 1))
        case(f"{low}_input_absent", moved, f"y = {op}(x)", fixed=True, x=image)
        case(f"{low}_noop", moved, f"y = {op}<noop_with_empty_axes=1>(x)", x=image)
    case("reducemin", 13, "y = ReduceMin<axes=[2], keepdims=0>(x)", x=image)
    case("reducel2", 13, "y = ReduceL2<axes=[1]>(x)", x=image)
    case("reduceprod", 13, "y = ReduceProd<axes=[3]>(x)", x=image)
    case("argmax", 13, "y = ArgMax<axis=1, keepdims=0>(x)", x=image)


def shapes():
    """Shape arithmetic as exporters write it, and constants in all their forms."""
    image = (2, 4, 3, 5)
    each("shape_gather_unsqueeze_concat_reshape", (9, 11), """
        s = Shape(x)
        n = Gather<axis=0>(s, zero)
        u = Unsqueeze<axes=[0]>(n)
        c = Concat<axis=0>(u, rest)
        y = Reshape(x, c)""", x=image, zero=scalar(0, np.int64), rest=ints(-1))
    each("shape_gather_unsqueeze_concat_reshape", (13, 17), """
        s = Shape(x)
        zero = Constant<value=int64 {0}>()
        n = Gather<axis=0>(s, zero)
        axes = Constant<value=int64[1] {0}>()
        u = Unsqueeze(n, axes)
        minus = Constant<value_ints=[-1]>()
        c = Concat<axis=0>(u, minus)
        y = Reshape(x, c)""", x=image)
    case("shape_slice_concat_reshape", 13, """
        s = Shape(x)
        two = Slice(s, b, e)
        c = Concat<axis=0>(two, minus)
        y = Reshape(x, c)""", x=image, b=ints(0), e=ints(2), minus=ints(-1))
    case("shape_cast_mul_cast_slice", 13, """
        s = Shape(x)
        c = Gather<axis=0>(s, one)
        f = Cast<to=1>(c)
        h = Mul(f, half)
        r = Floor(h)
        i = Cast<to=7>(r)
        axes = Constant<value_ints=[0]>()
        e = Unsqueeze(i, axes)
        y = Slice(x, zero, e, ax)""", x=image, one=scalar(1, np.int64), half=scalar(0.5), zero=ints(0), ax=ints(1))
    case("shape_div_chunk", 11, """
        s = Shape(x)
        c = Gather<axis=0>(s, one)
        t = Add(c, one)
        h = Div(t, two)
        m1 = Mul(h, one)
        m2 = Mul(h, two)
        u0 = Unsqueeze<axes=[0]>(m1)
        u1 = Unsqueeze<axes=[0]>(m2)
        y_a = Slice(x, zero, u0, ax)
        y_b = Slice(x, u0, u1, ax)""", x=image, one=scalar(1, np.int64), two=scalar(2, np.int64), zero=ints(0), ax=ints(1))
    case("shape_div_negative_floor", 13, """
        s = Shape(x)
        c = Gather<axis=0>(s, i)
        n = Sub(zero, c)
        d = Div(n, two)
        f = Cast<to=1>(d)
        y = Add(x, f)""", x=image, i=ints(3), zero=ints(0), two=ints(2))
    case("constantofshape_mul_equal_where_expand", 17, """
        ones = ConstantOfShape<value=int64[1] {1}>(rank)
        m = Mul(ones, minus)
        q = Equal(want, m)
        s = Where(q, ones, want)
        y = Expand(x, s)""", x=(2, 3, 1, 1), rank=ints(4), minus=scalar(-1, np.int64), want=ints(-1, 3, 4, 5))
    case("constantofshape_default_pads", 13, """
        z = ConstantOfShape(n)
        zi = Cast<to=7>(z)
        p = Concat<axis=0>(zi, tail)
        y = Pad(x, p)""", x=image, n=ints(5), tail=ints(1, 0, 2))
    case("constantofshape_as_data", 9, """
        s = Shape(x)
        c = ConstantOfShape<value=float[1] {0.5}>(s)
        y = Sub(x, c)""", x=image)
    case("shape_start_end", 15, "s = Shape<start=1, end=-1>(x)\nc = Concat<axis=0>(minus, s, last)\ny = Reshape(x, c)",
         x=image, minus=ints(-1), last=ints(5))
    case("shape_start_negative", 19, "s = Shape<start=-2>(x)\nc = Concat<axis=0>(head, s)\ny = Reshape(x, c)", x=image, head=ints(0, 4))
    case("range_gather", 11, "r = Range(a, b, d)\ny = Gather<axis=1>(x, r)", x=image, a=scalar(3, np.int64), b=scalar(-1, np.int64), d=scalar(-2, np.int64))
    case("range_cast_mul", 13, "r = Range(a, b, d)\nf = Cast<to=1>(r)\ny = Mul(x, f)", x=image, a=scalar(0, np.int64), b=scalar(5, np.int64), d=scalar(1, np.int64))
    case("range_float", 13, "r = Range(a, b, d)\ny = Add(x, r)", x=image, a=scalar(0.5), b=scalar(3.0), d=scalar(0.5))
    case("size_mean", 13, "s = Size(c)\nf = Cast<to=1>(s)\ny = Div(x, f)", x=image, c=(2, 3))
    case("pads_from_transposed_reshape", 13, """
        r = Reshape(flat, two)
        t = Slice(r, start, end, zero, step)
        u = Transpose(t)
        p = Reshape(u, minus)
        y = Pad(x, p)""", x=image, flat=ints(0, 0, 1, 2, 0, 0, 0, 0), two=ints(4, 2), start=ints(-1), end=ints(-(2**63)),
         zero=ints(0), step=ints(-1), minus=ints(-1), fixed=True)
    case("constant_value_float", 13, "c = Constant<value_float=1.5>()\ny = Mul(x, c)", x=image)
    case("constant_value_floats", 12, "c = Constant<value_floats=[1.0, -2.0, 0.5, 3.0, 0.25]>()\ny = Mul(x, c)", x=image)
    case("constant_value_int", 12, "c = Constant<value_int=1>()\ny = Gather<axis=1>(x, c)", x=image)
    case("constant_value_ints", 13, "c = Constant<value_ints=[0, 12, 5]>()\ny = Reshape(x, c)", x=image)
    case("constant_value_tensor", 7, "c = Constant<value=float[4,1,1] {1.0, 2.0, -3.0, 0.0}>()\ny = Add(x, c)", x=image)
    case("constant_chain", 11, "a = Mul(c, d)\nb = Add(a, c)\ne = Sqrt(b)\ny = Mul(x, e)", x=image, c=positive(4, 1, 1), d=positive(1))
    case("flatten_by_shape_gemm", 13, """
        p = GlobalAveragePool(x)
        s = Shape(p)
        n = Slice(s, zero, one)
        c = Concat<axis=0>(n, minus)
        f = Reshape(p, c)
        y = Gemm<transB=1>(f, w, b)""", x=image, zero=ints(0), one=ints(1), minus=ints(-1), w=(3, 4), b=(3,))


def encodings():
    """Weights that are not simply there: behind nodes, or in another encoding."""
    conv = dict(x=(2, 3, 4, 5))
    case("weight_behind_reshape", 7, "w = Reshape(flat, s)\ny = Conv(x, w)", flat=(36,), s=ints(4, 3, 3, 1), **conv)
    case("weight_behind_reshape_matmul", 7, "f = Reshape(x, s)\nw = Reshape(box, t)\ny = MatMul(f, w)",
         x=(2, 2, 3, 2), s=ints(-1, 12), box=(2, 3, 2, 5), t=ints(12, 5))
    case("weight_behind_transpose", 13, "w = Transpose<perm=[3, 2, 0, 1]>(hwio)\ny = Conv(x, w, b)", hwio=(3, 2, 3, 4), b=(4,), **conv)
    case("weight_behind_transpose_gemm", 13, "w = Transpose(v)\ny = MatMul(x, w)", x=(2, 5), v=(4, 5))
    case("weight_behind_identity", 16, "w = Identity(v)\nc = Identity(b)\ny = Conv(x, w, c)", v=(4, 3, 2, 2), b=(4,), **conv)
    case("weight_shared_by_identity", 16, "w = Identity(v)\nt = Conv(x, v)\ny = Conv(t, w)", v=(3, 3, 2, 2), **conv)
    case("weight_behind_unsqueeze", 13, "s = Unsqueeze(v, a)\ny = Mul(x, s)", v=(3,), a=ints(1, 2), **conv)
    case("weight_behind_cast", 13, "w = Cast<to=1>(v)\ny = Conv(x, w)", v=np.arange(-9, 9, dtype=np.int64).reshape(2, 3, 3, 1), **conv)
    case("weight_scaled", 13, "w = Mul(v, s)\ny = Conv(x, w)", v=(2, 3, 2, 2), s=(2, 1, 1, 1), **conv)
    case("weight_in_constant_node", 11, "w = Constant<value=float[2,3,1,1] {0.5, -1.0, 2.0, 1.5, 0.0, -0.25}>()\ny = Conv(x, w)", **conv)

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
    # Small whole numbers: exact in float16 and in float32 alike.
    whole = lambda *shape: lambda rng: rng.integers(-8, 9, shape).astype(np.float32)
    case("network_in_float16", 13, "h = Cast<to=10>(x)\nt = Conv(h, w)\nr = Relu(t)\ny = Cast<to=1>(r)",
         x=whole(2, 3, 4, 5), w=whole(2, 3, 2, 2), edit=stored("raw_data", TensorProto.FLOAT16))


def transposed():
    """ConvTranspose in one, two and three dimensions."""
    each("convtranspose_plain", (7, 11, 22), "y = ConvTranspose(x, w, b)", x=(2, 3, 4, 5), w=(3, 4, 3, 2), b=(4,))
    case("convtranspose_stride2_k2", 13, "y = ConvTranspose<strides=[2, 2]>(x, w, b)", x=(2, 3, 4, 5), w=(3, 4, 2, 2), b=(4,))
    case("convtranspose_stride2_k3_outpad", 13, "y = ConvTranspose<strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]>(x, w)",
         x=(2, 3, 4, 5), w=(3, 2, 3, 3))
    case("convtranspose_stride3_k2", 13, "y = ConvTranspose<strides=[3, 3]>(x, w)", x=(2, 2, 3, 4), w=(2, 3, 2, 2))
    case("convtranspose_dilated_asym", 13, "y = ConvTranspose<strides=[2, 1], dilations=[2, 3], pads=[0, 2, 1, 1]>(x, w, b)",
         x=(2, 2, 4, 5), w=(2, 3, 3, 2), b=(3,))
    case("convtranspose_pad_beyond_kernel", 13, "y = ConvTranspose<strides=[2, 2], pads=[2, 1, 0, 3]>(x, w)", x=(2, 2, 6, 7), w=(2, 3, 1, 2))
    case("convtranspose_group2", 13, "y = ConvTranspose<group=2, strides=[2, 2], pads=[1, 1, 1, 1]>(x, w, b)", x=(2, 4, 4, 3), w=(4, 3, 3, 4), b=(6,))
    case("convtranspose_depthwise", 13, "y = ConvTranspose<group=3, strides=[2, 2]>(x, w)", x=(2, 3, 4, 3), w=(3, 1, 4, 4))
    case("convtranspose_depthwise_multiplier", 13, "y = ConvTranspose<group=3>(x, w, b)", x=(2, 3, 4, 3), w=(3, 2, 2, 2), b=(6,))
    case("convtranspose_output_shape", 13, "y = ConvTranspose<strides=[3, 2], output_shape=[10, 8]>(x, w)", x=(2, 2, 3, 3), w=(2, 3, 3, 3))
    for mode in ("SAME_UPPER", "SAME_LOWER"):
        case(f"convtranspose_{mode.lower()}", 13, f'y = ConvTranspose<auto_pad="{mode}", strides=[2, 2]>(x, w)', x=(2, 2, 3, 4), w=(2, 3, 3, 3))
    case("convtranspose_batchnorm_relu", 15, "t = ConvTranspose<strides=[2, 2]>(x, w, c)\nn = BatchNormalization(t, s, b, m, v)\ny = Relu(n)",
         x=(2, 2, 4, 5), w=(2, 3, 2, 2), c=(3,), s=(3,), b=(3,), m=(3,), v=positive(3))
    case("convtranspose_1d", 13, "y = ConvTranspose<strides=[2], pads=[1, 0]>(x, w, b)", x=(2, 3, 7), w=(3, 2, 4), b=(2,))
    case("convtranspose_3d", 13, "y = ConvTranspose<strides=[2, 1, 2]>(x, w, b)", x=(2, 2, 2, 3, 3), w=(2, 3, 2, 3, 2), b=(3,))
    case("conv3d_stride_dilation_group", 13, "y = Conv<group=2, strides=[2, 1, 2], dilations=[1, 2, 1], pads=[1, 2, 0, 0, 2, 1]>(x, w, b)",
         x=(2, 4, 5, 6, 5), w=(6, 2, 3, 2, 3), b=(6,))
    case("conv3d_depthwise", 13, "y = Conv<group=3, pads=[1, 1, 1, 1, 1, 1]>(x, w)", x=(2, 3, 3, 4, 4), w=(3, 1, 3, 3, 3))
    case("conv3d_pointwise", 13, "y = Conv(x, w, b)", x=(2, 3, 3, 4, 2), w=(5, 3, 1, 1, 1), b=(5,))
    for pool in ("MaxPool", "AveragePool"):
        case(f"{pool.lower()}_3d", 13, f"y = {pool}<kernel_shape=[2, 3, 2], strides=[2, 1, 2], pads=[1, 1, 0, 0, 1, 1]>(x)", x=(2, 3, 4, 5, 5))
    case("averagepool_3d_count_pad", 13, "y = AveragePool<kernel_shape=[2, 2, 3], pads=[1, 0, 1, 1, 1, 1], count_include_pad=1>(x)", x=(2, 2, 3, 4, 4))


def resizes():
    """Resize and Upsample."""
    f = lambda *v: np.array(v, np.float32)
    up = dict(x=(2, 2, 3, 4))
    case("upsample_linear", 9, 'y = Upsample<mode="linear">(x, s)', s=f(1, 1, 2, 3), **up)
    case("upsample_attribute", 7, 'y = Upsample<mode="nearest", scales=[1.0, 1.0, 2.0, 2.0]>(x)', **up)
    case("resize10_nearest", 10, 'y = Resize<mode="nearest">(x, s)', s=f(1, 1, 2, 3), **up)
    case("resize10_linear_down", 10, 'y = Resize<mode="linear">(x, s)', s=f(1, 1, 0.67, 0.5), **up)
    for coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"):
        for mode in ("nearest", "linear", "cubic"):
            case(f"resize_{mode}_{coordinates}_up", 13, f'y = Resize<mode="{mode}", coordinate_transformation_mode="{coordinates}">(x, , s)',
                 s=f(1, 1, 2, 3), **up)
            case(f"resize_{mode}_{coordinates}_sizes", 19, f'y = Resize<mode="{mode}", coordinate_transformation_mode="{coordinates}", axes=[2, 3]>(x, , , z)',
                 z=ints(5, 3), **up)
    case("resize_cubic_half_pixel_exclude", 13, 'y = Resize<mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5>(x, , s)', s=f(1, 1, 1.5, 2), **up)
    for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        case(f"resize_nearest_{rounding}", 13, f'y = Resize<mode="nearest", nearest_mode="{rounding}">(x, , s)', s=f(1, 1, 1.5, 2.5), **up)
        case(f"resize_nearest_{rounding}_asymmetric", 11, f'y = Resize<mode="nearest", nearest_mode="{rounding}", coordinate_transformation_mode="asymmetric">(x, roi, s)',
             roi=np.zeros(0, np.float32), s=f(1, 1, 2, 0.5), **up)
    case("resize_sizes_from_shape", 13, """
        sh = Shape(x_like)
        hw = Slice(sh, two, four, zero)
        nc = Shape(x)
        head = Slice(nc, zero, two, zero)
        z = Concat<axis=0>(head, hw)
        y = Resize<mode="linear", coordinate_transformation_mode="pytorch_half_pixel">(x, , , z)""",
         x=(2, 3, 3, 4), x_like=(2, 1, 5, 7), zero=ints(0), two=ints(2), four=ints(4))
    case("resize_all_axes_same", 13, "y = Resize(x, , s)", s=f(1, 1, 1, 1), **up)
    case("resize_3d_linear", 13, 'y = Resize<mode="linear">(x, , s)', x=(2, 2, 2, 3, 3), s=f(1, 1, 2, 2, 2))
    case("resize_1d_linear", 13, 'y = Resize<mode="linear", coordinate_transformation_mode="align_corners">(x, , , z)', x=(2, 2, 5), z=ints(2, 2, 9))
    case("resize_antialias_linear", 18, 'y = Resize<mode="linear", antialias=1>(x, , s)', x=(2, 2, 7, 8), s=f(1, 1, 0.5, 0.375))


def standardizations():
    """Normalizations by the input's own statistics."""
    case("instancenorm_1d", 6 + 1, "y = InstanceNormalization(x, s, b)", x=(2, 3, 9), s=(3,), b=(3,))
    case("groupnorm", 21, "y = GroupNormalization<num_groups=2, epsilon=0.01>(x, s, b)", x=(2, 4, 3, 5), s=(4,), b=(4,))
    case("groupnorm_as_torch_writes_it", 17, """
        r = Reshape(x, shape)
        n = InstanceNormalization(r, one, zero)
        sh = Shape(x)
        back = Reshape(n, sh)
        m = Mul(back, s)
        y = Add(m, b)""", x=(2, 4, 3, 5), shape=ints(0, 2, -1), one=np.ones(2, np.float32), zero=np.zeros(2, np.float32), s=(4, 1, 1), b=(4, 1, 1))
    case("layernorm", 17, "y = LayerNormalization(x, s, b)", x=(2, 3, 7), s=(7,), b=(7,))
    case("layernorm_no_bias_axis1", 17, "y = LayerNormalization<axis=1, epsilon=0.1>(x, s)", x=(2, 3, 4, 5), s=(3, 4, 5))
    case("layernorm_composed", 13, """
        m = ReduceMean<axes=[-1]>(x)
        d = Sub(x, m)
        p = Pow(d, two)
        v = ReduceMean<axes=[-1]>(p)
        e = Add(v, eps)
        q = Sqrt(e)
        n = Div(d, q)
        y = Mul(n, s)""", x=(2, 3, 7), two=scalar(2.0), eps=scalar(1e-5), s=(7,))
    case("rmsnorm", 23, "y = RMSNormalization(x, s)", x=(2, 3, 7), s=(7,))
    case("meanvariance", 13, "y = MeanVarianceNormalization(x)", x=(2, 3, 4, 5))
    case("meanvariance_axes", 9, "y = MeanVarianceNormalization<axes=[2, 3]>(x)", x=(2, 3, 4, 5))
    case("lpnorm_l2", 7, "y = LpNormalization<axis=1>(x)", x=(2, 3, 4, 5))
    case("lpnorm_l1", 22, "y = LpNormalization<p=1>(x)", x=(2, 3, 4))


def ranks():
    """Comparisons along an axis, logic, and integers while the network runs."""
    image = (2, 3, 4, 5)
    case("argmin_last", 13, "y = ArgMin<axis=1, keepdims=0, select_last_index=1>(x)", fixed=True, x=np.array([[2, 1, 1, 3], [0, 0, 5, 0]], np.float32))
    case("argmax_cast_mul", 13, "i = ArgMax<axis=1>(x)\nf = Cast<to=1>(i)\ny = Mul(x, f)", x=image)
    case("topk", 11, "y, i = TopK<axis=-1>(x, k)", x=image, k=ints(3))
    case("topk_smallest_values_used", 11, "v, i = TopK<axis=1, largest=0>(x, k)\ny = Relu(v)", x=image, k=ints(2))
    case("topk_indices", 10, "v, y = TopK(x, k)", x=(2, 9), k=ints(4))
    case("topk_gather_elements", 13, "v, i = TopK<axis=2>(x, k)\ny = GatherElements<axis=2>(x_b, i)", x=image, x_b=image, k=ints(2))
    for name, attributes in (("", ""), ("_exclusive", "<exclusive=1>"), ("_reverse", "<reverse=1>"), ("_both", "<exclusive=1, reverse=1>")):
        case(f"cumsum{name}", 14, f"y = CumSum{attributes}(x, a)", x=(2, 3, 4), a=scalar(1, np.int64))
    for op in ("Less", "Greater", "LessOrEqual", "GreaterOrEqual"):
        case(f"{op.lower()}_where", 16, f"c = {op}(x, x_b)\ny = Where(c, x, x_b)", x=image, x_b=image)
    for op in ("And", "Or", "Xor"):
        case(f"{op.lower()}_not_cast", 13, f"a = Greater(x, z)\nb = Less(x_b, z)\nc = {op}(a, b)\nn = Not(c)\ny = Cast<to=1>(n)", x=image, x_b=image, z=scalar(0.0))
    case("mod_fmod", 13, "y = Mod<fmod=1>(x, x_b)", x=lambda r: r.uniform(-5, 5, image).astype(np.float32), x_b=positive(*image))
    for op in ("ReduceL1", "ReduceSumSquare", "ReduceLogSumExp"):
        case(f"{op.lower()}_middle", 13, f"y = {op}<axes=[1, 3], keepdims=0>(x)", x=image)
        case(f"{op.lower()}_all", 13, f"y = {op}(x)", fixed=True, x=(2, 3, 4))
    case("reducelogsum", 18, "y = ReduceLogSum(x, a)", x=positive(*image), a=ints(1))
    case("reducelogsumexp_large", 18, "y = ReduceLogSumExp(x, a)", fixed=True, x=np.array([[1000, 999], [-1000, -1001]], np.float32), a=ints(1))
    for op, attributes in (("Celu", "<alpha=0.6>"), ("ThresholdedRelu", "<alpha=0.4>"), ("Round", ""), ("Sign", "")):
        case(op.lower(), 13, f"y = {op}{attributes}(x)", x=image)
    case("round_halves", 11, "y = Round(x)", fixed=True, x=np.array([[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.4999]], np.float32))
    case("swish", 24, "y = Swish<alpha=1.3>(x)", x=image)
    case("castlike", 15, "y = CastLike(x, like)", x=image, like=(2, 3))


def tables():
    """Picks and scatters by tables, Einsum, quantization."""
    image = (2, 3, 4, 5)
    case("gather_many_indices", 13, "y = Gather<axis=1>(x, i)", x=(2, 7, 3), i=ints(3, 0, 6, -1, 2, 2, 5, 1, 4, -7, 0))
    case("gather_runtime_index", 13, "i = ArgMax<axis=1, keepdims=0>(x_pick)\ny = Gather<axis=1>(x, i)", fixed=True, x=(2, 3, 4), x_pick=(2, 3))
    case("gatherelements", 13, "y = GatherElements<axis=1>(x, i)", fixed=True, x=(2, 3, 4), i=np.array([[[0, 2, -1, 1]], [[1, 0, 0, -3]]], np.int64))
    case("gathernd", 12, "y = GatherND(x, i)", fixed=True, x=image, i=np.array([[0, 2], [1, -1]], np.int64))
    case("gathernd_batch", 13, "y = GatherND<batch_dims=1>(x, i)", fixed=True, x=image, i=np.array([[[0], [2]], [[1], [-1]]], np.int64))
    case("scatterelements", 16, "y = ScatterElements<axis=1>(x, i, x_u)", fixed=True, x=(2, 5), i=np.array([[1, -1], [0, 3]], np.int64), x_u=(2, 2))
    case("scatter_old", 9, "y = Scatter<axis=0>(x, i, u)", fixed=True, x=(3, 4), i=np.array([[2, 0, 1, 2]], np.int64), u=(1, 4))
    case("scatternd", 11, "y = ScatterND(x, i, x_u)", fixed=True, x=(4, 3, 2), i=np.array([[2], [0]], np.int64), x_u=(2, 3, 2))
    case("scatternd_points", 16, "y = ScatterND(x, i, u)", fixed=True, x=(4, 3), i=np.array([[2, 1], [0, -1], [3, 0]], np.int64), u=(3,))
    case("einsum_matmul", 12, 'y = Einsum<equation="bij, bjk -> bik">(x, x_b)', x=(2, 3, 4), x_b=(2, 4, 5))
    case("einsum_attention", 12, 'y = Einsum<equation="bhqd,bhkd->bqhk">(x, x_b)', x=(2, 2, 3, 4), x_b=(2, 2, 5, 4))
    case("einsum_by_weights", 12, 'y = Einsum<equation="nchw,oc->nohw">(x, w)', x=image, w=(6, 3))
    case("einsum_sum_and_outer", 12, 'y = Einsum<equation="ij,kl->ik">(x, x_b)', fixed=True, x=(2, 3), x_b=(4, 5))
    case("einsum_permute", 12, 'y = Einsum<equation="bchw->bhwc">(x)', x=image)
    case("einsum_ellipsis", 12, 'y = Einsum<equation="...ij,jk->...ik">(x, w)', x=image, w=(5, 2))
    case("einsum_implicit", 12, 'y = Einsum<equation="bj,bi">(x, x_b)', x=(2, 3), x_b=(2, 4))
    scale = dict(s=scalar(0.05), z=scalar(3, np.uint8))
    case("quantize_dequantize", 13, "q = QuantizeLinear(x, s, z)\ny = DequantizeLinear(q, s, z)", x=image, **scale)
    case("quantize_axis_int8", 13, "q = QuantizeLinear<axis=1>(x, s, z)\ny = DequantizeLinear<axis=1>(q, s, z)", x=image,
         s=np.array([0.02, 0.05, 0.1], np.float32), z=np.array([-3, 0, 7], np.int8))
    case("qdq_conv", 13, """
        xq = QuantizeLinear(x, s, z)
        xd = DequantizeLinear(xq, s, z)
        w = DequantizeLinear<axis=0>(wq, ws, wz)
        b = DequantizeLinear(bq, bs)
        t = Conv(xd, w, b)
        yq = QuantizeLinear(t, s2, z)
        y = DequantizeLinear(yq, s2, z)""", x=image, wq=lambda r: r.integers(-127, 128, (4, 3, 2, 2)).astype(np.int8),
         ws=positive(4), wz=np.zeros(4, np.int8), bq=np.array([40, -20, 0, 9], np.int32), bs=scalar(0.01), s2=scalar(0.5), **scale)


def boxes(batch, count, centers=False):
    """Boxes that overlap: corners in any order, or centres and sizes."""
    def make(rng):
        middle = rng.uniform(0, 4, (batch, count, 2))
        size = rng.uniform(0.5, 2.5, (batch, count, 2)) * (1 if centers else rng.choice([-1, 1], (batch, count, 2)))
        pair = (middle, size) if centers else (middle - size / 2, middle + size / 2)
        return np.concatenate(pair, axis=2).astype(np.float32)
    return make


def scores(*shape):
    """Scores in 0 .. 1, many of them equal."""
    return lambda rng: (rng.integers(0, 12, shape) / 12).astype(np.float32)


def finds():
    """Shapes that only the run tells: NonMaxSuppression, NonZero, Compress, Unique, and what follows them."""
    limits = dict(m=ints(4), o=floats(0.4), t=floats(0.2))
    two = dict(x_b=boxes(2, 9), x_s=scores(2, 3, 9))
    for opset in (10, 11, 24):
        case("nms", opset, "y = NonMaxSuppression(x_b, x_s, m, o, t)", fixed=True, **two, **limits)
    case("nms_centers", 11, "y = NonMaxSuppression<center_point_box=1>(x_b, x_s, m, o, t)", fixed=True,
         x_b=boxes(2, 9, True), x_s=scores(2, 3, 9), **limits)
    case("nms_no_limits", 11, "y = NonMaxSuppression(x_b, x_s)", fixed=True, **two)
    case("nms_no_thresholds", 11, "y = NonMaxSuppression(x_b, x_s, m)", fixed=True, m=scalar(20, np.int64), **two)
    case("nms_no_overlap_threshold", 11, "y = NonMaxSuppression(x_b, x_s, m, , t)", fixed=True, m=ints(20), t=floats(0.5), **two)
    case("nms_negative_scores", 11, "y = NonMaxSuppression(x_b, x_s, m, o)", fixed=True, x_b=boxes(1, 9), x_s=(1, 2, 9), m=ints(20), o=floats(0.0))
    flat = np.array([[[0, 0, 0, 3], [0, 0, 2, 2], [0, 0, 0, 3], [0, 0, 2, 1], [2, 2, 4, 4]]], np.float32)
    case("nms_flat_boxes", 11, "y = NonMaxSuppression(x_b, x_s, m, o)", fixed=True, x_b=flat, x_s=scores(1, 1, 5), m=ints(9), o=floats(0.5))
    case("nms_constant", 11, "k = NonMaxSuppression(b, s, m, o, t)\nf = Cast<to=1>(k)\ny = Add(x, f)", fixed=True, x=(1, 3),
         b=boxes(2, 9), s=scores(2, 3, 9), **limits)
    x = lambda *shape: lambda rng: np.round(rng.uniform(-1.4, 1.4, shape)).astype(np.float32)
    each("nonzero", (9, 13), "y = NonZero(x)", fixed=True, x=x(3, 4, 2))
    case("nonzero_mask", 13, "c = Greater(x, z)\ny = NonZero(c)", fixed=True, x=(2, 5), z=scalar(0.3))
    case("nonzero_gathernd", 13, "c = Greater(x, z)\nn = NonZero(c)\ni = Transpose(n)\ny = GatherND(x, i)", fixed=True, x=(2, 5), z=scalar(0.3))
    case("nonzero_as_torch_writes_arange", 11, """
        sh = Shape(x)
        one = ConstantOfShape<value=int64[1] {1}>(sh)
        n = NonZero(one)
        t = Transpose(n)
        f = Cast<to=1>(t)
        c = Gather<axis=1>(f, zero)
        s = Reshape(c, sh)
        y = Add(x, s)""", fixed=True, x=(2, 5), zero=ints(0))
    for opset in (9, 11):
        case("compress", opset, "c = Greater(x_c, z)\ny = Compress<axis=1>(x, c)", fixed=True, x=(2, 5, 3), x_c=(5,), z=scalar(0.0))
    case("compress_flat", 11, "c = Greater(x_c, z)\ny = Compress(x, c)", fixed=True, x=(2, 5), x_c=(7,), z=scalar(0.0))
    yes = np.array([True, False, False, True], bool)
    case("compress_constant", 11, "y = Compress<axis=-2>(x, c)", x=(2, 5, 3), c=yes)
    case("compress_constant_flat", 11, "y = Compress(x, c)", fixed=True, x=(2, 5, 3), c=yes)
    case("compress_channels", 11, "t = Conv(x, w)\nr = Relu(t)\np = Compress<axis=1>(r, c)\ny = Conv(p, v)",
         x=(2, 3, 4, 4), w=(4, 3, 3, 3), c=yes, v=(2, 2, 1, 1))
    every = ", yi, yn, yc"
    case("unique", 11, f"y{every} = Unique(x)", fixed=True, x=x(3, 5))
    case("unique_unsorted", 11, f"y{every} = Unique<sorted=0>(x)", fixed=True, x=x(3, 5))
    case("unique_rows", 11, f"y{every} = Unique<axis=0>(x)", fixed=True, x=x(12, 2))
    case("unique_columns_unsorted", 11, f"y{every} = Unique<axis=-1, sorted=0>(x)", fixed=True, x=x(2, 1, 14))
    case("unique_values", 11, "u = Unique(x)\ny = Mul(u, u)", fixed=True, x=x(9))

    # A detector as YOLO is exported: choose, then look up what was chosen.
    body = """
        t1 = Conv<pads=[1, 1, 1, 1], strides=[2, 2]>(x, w1, b1)
        r1 = Relu(t1)
        t2 = Conv<pads=[1, 1, 1, 1]>(r1, w2, b2)
        r2 = Relu(t2)
        t3 = Conv<pads=[1, 1, 1, 1]>(r2, w3, b3)
        r3 = Add(t3, r1)"""
    weights = dict(w1=scaled(16, 3, 3, 3), b1=(16,), w2=scaled(12, 16, 3, 3), b2=(12,), w3=scaled(16, 12, 3, 3), b3=(16,))
    yolo = body + """
        h = Conv(r3, wh, bh)
        q = Slice(h, zero, four, one)
        qs = Sigmoid(q)
        qb = Mul(qs, size)
        qr = Reshape(qb, boxes_of)
        b = Transpose<perm=[0, 2, 1]>(qr)
        c = Slice(h, four, seven, one)
        cs = Sigmoid(c)
        s = Reshape(cs, scores_of)
        k = NonMaxSuppression<center_point_box=1>(b, s, m, o, t)
        k2 = Gather<axis=1>(k, last)
        k1 = Slice(k, one, two, one)
        y_class = Squeeze(k1, one)
        k0 = Slice(k, zero, one, one)
        k2c = Unsqueeze(k2, one)
        p = Concat<axis=1>(k0, k2c)
        y_boxes = GatherND(b, p)
        y_scores = GatherND(s, k)
        y_small = Cast<to=6>(y_class)
        y_any = Greater(y_scores, half)
        n = Shape(k)
        y_count = Gather(n, first)
        nn = Unsqueeze(y_count, zero)
        top = Min(nn, four)
        sorted, order = TopK(y_scores, top)
        y_sorted = Gather(y_boxes, order)"""
    shapes = lambda batch: dict(boxes_of=ints(batch, 4, -1), scores_of=ints(batch, 3, -1))
    found = dict(wh=scaled(7, 16, 1, 1), bh=(7,), zero=ints(0), one=ints(1), two=ints(2), four=ints(4), seven=ints(7), last=scalar(2, np.int64),
                 first=scalar(0, np.int64), half=scalar(0.7), size=positive(1, 4, 1, 1), m=ints(5), o=floats(0.45), **weights)
    for batch in (1, 2):
        case(f"detector_yolo_batch{batch}", 13, yolo, fixed=True, x=(batch, 3, 12, 12), t=floats(0.5), **shapes(batch), **found)
    case("detector_yolo_finds_nothing", 13, yolo, fixed=True, x=(1, 3, 12, 12), t=floats(1.5), **shapes(1), **found)
    # And as SSD is: two maps, softmax, a mask with NonZero and Compress.
    ssd = body + """
        d = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(r3)
        ca = Conv(r3, wc, bc)
        cb = Conv(d, wc, bc)
        ba = Conv(r3, wb, bb)
        bd = Conv(d, wb, bb)
        caf = Transpose<perm=[0, 2, 3, 1]>(ca)
        cbf = Transpose<perm=[0, 2, 3, 1]>(cb)
        baf = Transpose<perm=[0, 2, 3, 1]>(ba)
        bdf = Transpose<perm=[0, 2, 3, 1]>(bd)
        car = Reshape(caf, classes)
        cbr = Reshape(cbf, classes)
        bar = Reshape(baf, boxes)
        bdr = Reshape(bdf, boxes)
        logits = Concat<axis=1>(car, cbr)
        b = Concat<axis=1>(bar, bdr)
        prob = Softmax<axis=-1>(logits)
        fg = Slice(prob, one, three, two)
        s = Transpose<perm=[0, 2, 1]>(fg)
        best = ReduceMax<axes=[1], keepdims=0>(s)
        mask = Greater(best, half)
        flat = Reshape(mask, all)
        y_kept = Compress<axis=1>(b, flat)
        sk = Compress<axis=2>(s, flat)
        k = NonMaxSuppression(y_kept, sk, m, o)
        y_k = Mul(k, two)
        nz = NonZero(mask)
        y_nz = Transpose(nz)
        y_best = GatherND(best, y_nz)
        y_mean = ReduceMean<axes=[0]>(y_best)
        y_all = Softmax<axis=1>(logits)"""
    case("detector_ssd", 13, ssd, fixed=True, x=(1, 3, 12, 12), wc=scaled(6, 16, 1, 1), bc=(6,), wb=scaled(8, 16, 1, 1), bb=(8,), classes=ints(1, -1, 3),
         boxes=ints(1, -1, 4), one=ints(1), two=ints(2), three=ints(3), half=scalar(0.6), all=ints(-1), m=ints(4), o=floats(0.3), **weights)

    # What is found reads weights that the network reads too, counts the network's channels, or has layers of its own.
    found = body + """
        g = Mul(r3, scale)
        gm = ReduceMean<axes=[2, 3], keepdims=0>(g)
        y = MatMul(gm, wm)
        c = Greater(y, zero)
        n = NonZero(c)
        f = Cast<to=1>(n)"""
    rest = dict(wm=scaled(16, 9), zero=scalar(0.0), **weights)
    one = dict(fixed=True, x=(1, 3, 12, 12), scale=(16, 1, 1), **rest)
    case("late_shares_weights", 13, found + """
        row = Reshape(f, apart)
        y_late = Mul(row, scale)""", apart=ints(1, 1, -1), **one)
    case("late_counts_channels", 13, found + """
        sh = Shape(r2)
        c2 = Gather(sh, at)
        cf = Cast<to=1>(c2)
        y_late = Mul(f, cf)""", at=ints(1), **one)
    case("late_has_layers", 13, found + """
        t = Transpose(f)
        l = Gemm(t, wl, bl)
        lr = Relu(l)
        y_late = Gemm(lr, wn, bl)""", wl=scaled(2, 8), bl=(8,), wn=scaled(8, 8), **one)

    # Nothing found, and what may follow it.
    case("nothing_found", 13, """
        k = NonMaxSuppression(x_b, x_s, m, o, t)
        i = Gather<axis=1>(k, last)
        b = Squeeze(x_b, zero)
        g = Gather(b, i)
        y_mul = Mul(g, four)
        y_matmul = MatMul(g, w)
        y_gemm = Gemm(g, w, v)
        y_softmax = Softmax(g)
        y_transposed = Transpose(g)
        y_sum = ReduceSum<keepdims=0>(g, zero)
        y_rows = Concat<axis=0>(g, b)
        y_columns = Concat<axis=1>(g, g)
        y_slice = Slice(g, zero, two, one)
        y_left, y_right = Split<axis=1>(g)
        y_reshaped = Reshape(g, back)
        y_flat = Flatten(g)
        c = Less(g, four)
        y_where = Where(c, g, g)
        y_clip = Clip(g, least)
        y_sigmoid = Sigmoid(g)
        y_expand = Expand(g, wide)
        y_tile = Tile(g, many)
        y_pad = Pad(g, border)
        places = Unsqueeze(i, one)
        y_scatter = ScatterND(b, places, g)
        y_cumsum = CumSum(g, axis)
        y_size = Size(g)
        y_arg = ArgMax<axis=1>(g)
        y_top, y_at = TopK<axis=1>(g, two)
        y_nonzero = NonZero(g)
        y_unique = Unique(g)
        y_round = Round(g)
        y_pow = Pow(g, two)""",
         fixed=True, x_b=boxes(1, 6), x_s=scores(1, 2, 6), m=ints(4), o=floats(0.4), t=floats(2.0), last=scalar(2, np.int64), zero=ints(0), one=ints(1),
         two=ints(2), four=floats(4.0), w=(4, 3), v=(3,), back=ints(-1, 2), least=scalar(0.0), wide=ints(3, 1, 4), many=ints(2, 2),
         border=ints(0, 1, 1, 0), axis=scalar(0, np.int64))


for family in (
    convolutions, normalisations, activations, pools, arithmetic, movements, reductions, shapes, encodings,
    transposed, resizes, standardizations, ranks, tables, finds,
):
    family()
