"""Operators of several values, with broadcasting."""

import numpy as np

from .common import case, each, ints, positive, scalar, small


def arithmetic():
    """Add, Sub, Mul, Div and other binary operators."""
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
    case("equal_where", 13, "m = Equal(x, z)\ny = Where(m, c, x)",
         x=np.round(np.linspace(-2, 2, 24)).astype(np.float32).reshape(2, 3, 4), z=scalar(0.0), c=scalar(9.0))
    case("where_constant_mask", 9, "y = Where(m, x, c)", x=(2, 3, 4), m=np.array([True, False, True, True]), c=(3, 1))


def powers():
    """Pow and Mod."""
    image = (2, 3, 4, 5)
    each("pow_scalar", (7, 13), "y = Pow(x, e)", x=positive(*image), e=scalar(1.5))
    case("pow_negative_base_squared", 13, "y = Pow(x, e)", x=small(*image), e=scalar(2.0))
    case("pow_int_exponent", 12, "y = Pow(x, e)", x=small(*image), e=ints(3))
    case("pow_channel_exponent", 15, "y = Pow(x, e)",
         x=positive(*image), e=np.array([0.5, 2, -1], np.float32).reshape(3, 1, 1))
    case("mod_fmod", 13, "y = Mod<fmod=1>(x, x_b)",
         x=lambda r: r.uniform(-5, 5, image).astype(np.float32), x_b=positive(*image))


def comparisons():
    """Comparisons and logic."""
    image = (2, 3, 4, 5)
    for op in ("Less", "Greater", "LessOrEqual", "GreaterOrEqual"):
        case(f"{op.lower()}_where", 16, f"c = {op}(x, x_b)\ny = Where(c, x, x_b)", x=image, x_b=image)
    for op in ("And", "Or", "Xor"):
        case(f"{op.lower()}_not_cast", 13,
             f"a = Greater(x, z)\nb = Less(x_b, z)\nc = {op}(a, b)\nn = Not(c)\ny = Cast<to=1>(n)",
             x=image, x_b=image, z=scalar(0.0))
