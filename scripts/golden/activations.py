"""Unary operators."""

import numpy as np

from .common import case, each, positive, scalar, small


def activations():
    """Activations, with bounds and slopes in every form of the standard."""
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
    case("clip_constant_nodes", 13,
         "lo = Constant<value_float=-0.25>()\nhi = Constant<value=float {0.75}>()\ny = Clip(x, lo, hi)", x=big)
    for op in ("Sigmoid", "Tanh", "Exp"):
        each(op.lower(), (7, 13), f"y = {op}(x)", x=small(*big))
    case("sigmoid_saturated", 13, "y = Sigmoid(x)", fixed=True,
         x=np.array([[-200, -90, -30, 0, 30, 90, 200]], np.float32))
    case("tanh_saturated", 13, "y = Tanh(x)", fixed=True,
         x=np.array([[-200, -20, -1e-4, 0, 1e-4, 20, 200]], np.float32))
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
    for op, attributes in (("Celu", "<alpha=0.6>"), ("ThresholdedRelu", "<alpha=0.4>"), ("Round", ""), ("Sign", "")):
        case(op.lower(), 13, f"y = {op}{attributes}(x)", x=big)
    case("round_halves", 11, "y = Round(x)", fixed=True,
         x=np.array([[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.4999]], np.float32))
    for op in ("Sin", "Cos", "Tan", "Atan"):
        each(op.lower(), (7, 22), f"y = {op}(x)", x=small(*big))
    for op in ("Sin", "Cos"):
        case(f"{op.lower()}_of_many_turns", 13, f"y = {op}(x)",
             x=lambda rng: rng.uniform(-200, 200, big).astype(np.float32))
    for op in ("Sinh", "Cosh", "Asinh"):
        each(op.lower(), (9, 22), f"y = {op}(x)", x=big)
    for op, opset in (("Asin", 7), ("Acos", 7), ("Atanh", 9)):
        each(op.lower(), (opset, 22), f"y = {op}(x)", x=lambda rng: rng.uniform(-0.95, 0.95, big).astype(np.float32))
    each("acosh", (9, 22), "y = Acosh(x)", x=lambda rng: rng.uniform(1.05, 9, big).astype(np.float32))
    case("shrink_hard", 9, "y = Shrink<lambd=0.4>(x)", x=big)
    case("shrink_soft", 9, "y = Shrink<lambd=0.7, bias=0.7>(x)", x=big)
    case("shrink_defaults", 13, "y = Shrink(x)", x=big)
    # Quotients that are NaN, infinite and finite.
    special = dict(x=np.array([[0, -1, 1, 3, 0]], np.float32), x_by=np.array([[0, 0, 0, 2, 1]], np.float32))
    each("isnan_where", (9, 13, 20), "q = Div(x, x_by)\nm = IsNaN(q)\ny = Where(m, c, z)", fixed=True,
         **special, c=scalar(1.0), z=scalar(0.0))
    for name, attributes in (("", ""), ("_positive", "<detect_negative=0>"), ("_negative", "<detect_positive=0>")):
        case(f"isinf{name}_where", 20 if name else 10, f"q = Div(x, x_by)\nm = IsInf{attributes}(q)\ny = Where(m, c, z)",
             fixed=True, **special, c=scalar(1.0), z=scalar(0.0))
    case("swish", 24, "y = Swish<alpha=1.3>(x)", x=big)


def identities():
    """Identity, Dropout, Cast."""
    big = (2, 3, 4, 5)
    each("identity", (7, 13, 14, 21), "t = Identity(x)\ny = Relu(t)", x=big)
    case("identity_to_output", 13, "y = Identity(x)", x=big)
    case("dropout_ratio", 7, "y = Dropout<ratio=0.4>(x)", x=big)
    case("dropout_ratio", 10, "y, mask = Dropout<ratio=0.4>(x)", x=big)
    each("dropout_inputs", (12, 13), "y = Dropout(x, r)", x=big, r=scalar(0.4))
    case("dropout_mask_unused", 13, "t, mask = Dropout<seed=3>(x, r)\ny = Relu(t)", x=big, r=scalar(0.4))
    case("dropout_training_false", 13, "y = Dropout(x, r, t)", x=big, r=scalar(0.4), t=scalar(False, np.bool_))
    each("cast_truncates", (9, 13, 19), "i = Cast<to=7>(x)\ny = Cast<to=1>(i)",
         x=lambda r: r.uniform(-5, 5, (2, 3, 4)).astype(np.float32))
    case("cast_bool", 13, "b = Cast<to=9>(x)\ny = Cast<to=1>(b)", fixed=True,
         x=np.array([[0, -0.0, 0.5, -2, 0, 7]], np.float32))
    case("cast_no_change", 13, "t = Cast<to=1>(x)\ny = Relu(t)", x=big)
    case("castlike", 15, "y = CastLike(x, like)", x=big, like=(2, 3))
