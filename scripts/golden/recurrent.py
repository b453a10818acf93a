"""RNN, GRU, LSTM, alone and as exporters surround them."""

import numpy as np

from .common import case, each, ints, scaled

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
STEPS, BATCH, CHANNELS, HIDDEN = 5, 3, 6, 4


def weights(op, directions=1, hidden=HIDDEN, channels=CHANNELS):
    """Returns specifications of W, R and B."""
    rows = GATES[op] * hidden
    return {"w": scaled(directions, rows, channels), "r": scaled(directions, rows, hidden), "b": (directions, 2 * rows)}


def lengths(*values):
    """A tensor of sequence lengths."""
    return np.array(values, np.int32)


def recurrent():
    """Every attribute and optional input, and the graphs around recurrent layers."""
    x, state = (STEPS, BATCH, CHANNELS), lambda d: (d, BATCH, HIDDEN)
    for op in GATES:
        name, outs = op.lower(), "y, y_h, y_c" if op == "LSTM" else "y, y_h"
        each(f"{name}_plain", (7, 14, 22), f"{outs} = {op}<hidden_size=4>(x, w, r, b)", fixed=True, x=x, **weights(op))
        case(f"{name}_no_bias", 14, f"{outs} = {op}<hidden_size=4>(x, w, r)", fixed=True, x=x,
             **{k: v for k, v in weights(op).items() if k != "b"})
        case(f"{name}_reverse", 14, f'{outs} = {op}<hidden_size=4, direction="reverse">(x, w, r, b)', fixed=True, x=x,
             **weights(op))
        case(f"{name}_both_directions", 14, f'{outs} = {op}<hidden_size=4, direction="bidirectional">(x, w, r, b, , h)',
             fixed=True, x=x, h=state(2), **weights(op, 2))
        case(f"{name}_lengths", 14, f'{outs} = {op}<hidden_size=4, direction="bidirectional">(x, w, r, b, l, h)',
             fixed=True, x=x, l=lengths(5, 0, 3), h=state(2), **weights(op, 2))
        case(f"{name}_computed_lengths", 14, f"{outs} = {op}<hidden_size=4>(x, w, r, b, x_l)", fixed=True, x=x,
             x_l=lengths(2, 5, 4), **weights(op))
        case(f"{name}_computed_state", 14, f"{outs} = {op}<hidden_size=4>(x, w, r, b, , x_h)", fixed=True, x=x,
             x_h=state(1), **weights(op))
        case(f"{name}_clip", 14, f"{outs} = {op}<hidden_size=4, clip=0.3>(x, w, r, b)", fixed=True, x=x, **weights(op))
        case(f"{name}_last_state", 14, f"_, y = {op}<hidden_size=4>(x, w, r, b)", fixed=True, x=x, **weights(op))
        # ONNX Runtime does not run layout 1.
        case(f"{name}_batch_first", 14,
             f"{outs} = {op}<hidden_size=4, layout=1>(x, w, r, b, , h)", fixed=True,
             x=(BATCH, STEPS, CHANNELS), h=(BATCH, 1, HIDDEN), **weights(op))
    gru, lstm, rnn = weights("GRU"), weights("LSTM"), weights("RNN")
    each("gru_linear_before_reset", (7, 14), "y, y_h = GRU<hidden_size=4, linear_before_reset=1>(x, w, r, b)",
         fixed=True, x=x, **gru)
    case("gru_linear_before_reset_clip", 14,
         'y, y_h = GRU<hidden_size=4, linear_before_reset=1, clip=0.4, direction="bidirectional">(x, w, r, b)',
         fixed=True, x=x, **weights("GRU", 2))
    case("lstm_all_inputs", 14, 'y, y_h, y_c = LSTM<hidden_size=4, direction="bidirectional">(x, w, r, b, l, h, c, p)',
         fixed=True, x=x, l=lengths(4, 5, 1), h=state(2), c=state(2), p=(2, 3 * HIDDEN), **weights("LSTM", 2))
    case("lstm_input_forget", 14, "y, y_h, y_c = LSTM<hidden_size=4, input_forget=1>(x, w, r, b, , h, c, p)", fixed=True,
         x=x, h=state(1), c=state(1), p=(1, 3 * HIDDEN), **lstm)
    case("lstm_last_cell", 14, "_, _h, y_c = LSTM<hidden_size=4>(x, w, r, b)", fixed=True, x=x, **lstm)
    activations(x, rnn, gru, lstm)
    exported(x)


def activations(x, rnn, gru, lstm):
    """Functions of gates, with parameters."""
    for function, parameters in (
        ("Relu", ""), ("Tanh", ""), ("Sigmoid", ""), ("Softsign", ""), ("Softplus", ""), ("LeakyRelu", ""),
        ("HardSigmoid", ""), ("Elu", ""), ("ThresholdedRelu", ", activation_alpha=[0.5]"),
        ("Affine", ", activation_alpha=[0.5], activation_beta=[0.25]"),
        ("ScaledTanh", ", activation_alpha=[0.5], activation_beta=[0.25]"),
        ("HardSigmoid", ", activation_alpha=[0.3], activation_beta=[0.4]"),
    ):
        suffix = "_parameters" if parameters else ""
        case(f"rnn_{function.lower()}{suffix}", 14,
             f'y, y_h = RNN<hidden_size=4, activations=["{function}"]{parameters}>(x, w, r, b)', fixed=True, x=x, **rnn)
    case("gru_activations", 14,
         'y, y_h = GRU<hidden_size=4, activations=["HardSigmoid", "LeakyRelu"], activation_alpha=[0.3, 0.1]>(x, w, r, b)',
         fixed=True, x=x, **gru)
    case("lstm_activations", 14,
         'y, y_h, y_c = LSTM<hidden_size=4, activations=["HardSigmoid", "Softsign", "Elu"]>(x, w, r, b)', fixed=True, x=x,
         **lstm)
    case("lstm_activations_by_direction", 14,
         'y, y_h, y_c = LSTM<hidden_size=4, direction="bidirectional", activations=["Sigmoid", "Tanh", "Tanh", '
         '"HardSigmoid", "Softsign", "Relu"]>(x, w, r, b)', fixed=True, x=x, **weights("LSTM", 2))


def exported(x):
    """Graphs as PyTorch and TensorFlow export them."""
    # Text recognition: columns of a feature map are steps; two layers of both directions.
    first, second = weights("LSTM", 2, channels=5), weights("LSTM", 2, channels=8)
    case("lstm_text_recognition", 14,
         """
         c = Conv<pads=[1, 1, 1, 1]>(x, k)
         p = ReduceMean<axes=[2], keepdims=0>(c)
         s = Transpose<perm=[2, 0, 1]>(p)
         a, a_h, a_c = LSTM<hidden_size=4, direction="bidirectional">(s, w, r, b)
         t = Transpose<perm=[0, 2, 1, 3]>(a)
         f = Reshape(t, flat)
         d, d_h, d_c = LSTM<hidden_size=4, direction="bidirectional">(f, w2, r2, b2)
         u = Transpose<perm=[0, 2, 1, 3]>(d)
         g = Reshape(u, flat)
         y = MatMul(g, m)
         """,
         x=(2, 3, 4, 7), k=(5, 3, 3, 3), flat=ints(0, 0, -1), m=(8, 9),
         w=first["w"], r=first["r"], b=first["b"], w2=second["w"], r2=second["r"], b2=second["b"])
    # PyTorch: zero states whose batch is computed from the input's shape.
    case("gru_states_from_shape", 14,
         """
         s = Transpose<perm=[1, 0, 2]>(x)
         shape = Shape(s)
         n = Gather<axis=0>(shape, one)
         d = Concat<axis=0>(one, n, four)
         h = ConstantOfShape(d)
         a, a_h = GRU<hidden_size=4, linear_before_reset=1>(s, w, r, b, , h)
         last = Squeeze(a_h, zero)
         y = Gemm<transB=1>(last, m)
         """,
         x=(BATCH, STEPS, CHANNELS), one=ints(1), four=ints(4), zero=ints(0), m=(2, HIDDEN), **weights("GRU"))
