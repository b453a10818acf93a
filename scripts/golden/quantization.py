"""QuantizeLinear and DequantizeLinear."""

import numpy as np

from .common import case, positive, scalar


def quantizations():
    """Values, axes, and a layer in the form of quantized exports."""
    image = (2, 3, 4, 5)
    scale = dict(s=scalar(0.05), z=scalar(3, np.uint8))
    case("quantize_dequantize", 13, "q = QuantizeLinear(x, s, z)\ny = DequantizeLinear(q, s, z)", x=image, **scale)
    case("quantize_axis_int8", 13, "q = QuantizeLinear<axis=1>(x, s, z)\ny = DequantizeLinear<axis=1>(q, s, z)",
         x=image, s=np.array([0.02, 0.05, 0.1], np.float32), z=np.array([-3, 0, 7], np.int8))
    case("qdq_conv", 13, """
        xq = QuantizeLinear(x, s, z)
        xd = DequantizeLinear(xq, s, z)
        w = DequantizeLinear<axis=0>(wq, ws, wz)
        b = DequantizeLinear(bq, bs)
        t = Conv(xd, w, b)
        yq = QuantizeLinear(t, s2, z)
        y = DequantizeLinear(yq, s2, z)""", x=image, wq=lambda r: r.integers(-127, 128, (4, 3, 2, 2)).astype(np.int8),
         ws=positive(4), wz=np.zeros(4, np.int8), bq=np.array([40, -20, 0, 9], np.int32), bs=scalar(0.01),
         s2=scalar(0.5), **scale)
