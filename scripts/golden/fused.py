"""Operators of ONNX Runtime's optimizer, of the domain com.microsoft."""

from .common import case, small


def fusions():
    """Fused layers, activations and normalizations."""
    image = dict(x=(2, 3, 5, 6), w=(4, 3, 3, 3), b=(4,))
    ms = "com.microsoft"
    pads = "pads=[1, 1, 1, 1]"
    case("fusedconv_relu", 13, f'y = {ms}.FusedConv<activation="Relu", {pads}>(x, w, b)', **image)
    case("fusedconv_leaky", 13,
         f'y = {ms}.FusedConv<activation="LeakyRelu", activation_params=[0.2], {pads}>(x, w, b)', **image)
    for opset in (10, 13):
        case("fusedconv_clip", opset,
             f'y = {ms}.FusedConv<activation="Clip", activation_params=[-0.1, 0.8], {pads}>(x, w)',
             x=image["x"], w=image["w"])
    case("fusedconv_hardsigmoid", 13,
         f'y = {ms}.FusedConv<activation="HardSigmoid", activation_params=[0.3, 0.4], {pads}>(x, w, b)', **image)
    for activation in ("Sigmoid", "Tanh"):
        case(f"fusedconv_{activation.lower()}", 13,
             f'y = {ms}.FusedConv<activation="{activation}", {pads}, group=3>(x, w, b)',
             x=(2, 3, 5, 6), w=(6, 1, 3, 3), b=(6,))
    case("fusedconv_residual", 13, f'y = {ms}.FusedConv<activation="Relu", {pads}>(x, w, b, x_z)',
         x_z=(2, 4, 5, 6), **image)
    case("fusedconv_between", 13,
         f't = Abs(x)\nu = {ms}.FusedConv<activation="Relu", {pads}>(t, w, b)\ny = Neg(u)', **image)
    case("fusedgemm_relu", 13, f'y = {ms}.FusedGemm<activation="Relu", transB=1, alpha=0.5>(x, w, b)',
         x=(2, 5), w=(4, 5), b=(4,))
    case("fusedgemm_leaky", 13, f'y = {ms}.FusedGemm<activation="LeakyRelu", activation_alpha=0.3>(x, w, b)',
         x=(2, 5), w=(5, 4), b=(4,))
    case("fusedmatmul_scaled", 13, f"y = {ms}.FusedMatMul<alpha=0.25>(x, w)", x=(2, 4, 5), w=(5, 3))
    case("fusedmatmul_transb_weights", 13, f"y = {ms}.FusedMatMul<transB=1, alpha=2.0>(x, w)", x=(2, 4, 5), w=(3, 5))
    case("fusedmatmul_attention", 13, f"y = {ms}.FusedMatMul<transB=1, alpha=0.5>(x, x_b)",
         x=(2, 3, 4, 5), x_b=(2, 3, 6, 5))
    case("fusedmatmul_transa", 13, f"y = {ms}.FusedMatMul<transA=1>(x, x_b)", x=(2, 3, 5, 4), x_b=(2, 3, 5, 6))
    case("fusedmatmul_transa_transb", 13, f"y = {ms}.FusedMatMul<transA=1, transB=1>(x, w)", x=(2, 5, 4), w=(3, 5))
    case("fusedmatmul_broadcast", 13, f"y = {ms}.FusedMatMul<transB=1>(x, w)", x=(2, 3, 4, 5), w=(3, 2, 5))
    deep = small(2, 3, 8)
    case("gelu_of_microsoft", 13, f"y = {ms}.Gelu(x)", x=deep)
    case("quickgelu", 13, f"y = {ms}.QuickGelu(x)", x=deep)
    case("quickgelu_alpha", 13, f"y = {ms}.QuickGelu<alpha=1.1>(x)", x=deep)
    case("biasgelu", 13, f"y = {ms}.BiasGelu(x, b)", x=deep, b=(8,))
    case("fastgelu", 13, f"y = {ms}.FastGelu(x)", x=deep)
    case("fastgelu_bias", 13, f"y = {ms}.FastGelu(x, b)", x=deep, b=(8,))
    skip = dict(x=(2, 3, 8), x_skip=(2, 3, 8), s=(8,))
    case("skiplayernorm", 13, f"y = {ms}.SkipLayerNormalization<epsilon=0.01>(x, x_skip, s, t)", t=(8,), **skip)
    case("skiplayernorm_bias_sum", 13,
         f"y, , , y_sum = {ms}.SkipLayerNormalization<epsilon=0.01>(x, x_skip, s, t, b)", t=(8,), b=(8,), **skip)
    case("skipsimplifiedlayernorm", 13,
         f"y = {ms}.SkipSimplifiedLayerNormalization<epsilon=0.01>(x, x_skip, s)", **skip)
    case("layernorm_of_optimizer", 13, "y = LayerNormalization<epsilon=0.01>(x, s, b)", x=(2, 3, 8), s=(8,), b=(8,))
