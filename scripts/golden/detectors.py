"""Whole detectors: layers, data-dependent selection from their outputs, and computation on the selected values."""

import numpy as np

from .common import case, floats, ints, positive, scalar, scaled

# Layers that all detectors share.
BODY = """
    t1 = Conv<pads=[1, 1, 1, 1], strides=[2, 2]>(x, w1, b1)
    r1 = Relu(t1)
    t2 = Conv<pads=[1, 1, 1, 1]>(r1, w2, b2)
    r2 = Relu(t2)
    t3 = Conv<pads=[1, 1, 1, 1]>(r2, w3, b3)
    r3 = Add(t3, r1)"""
WEIGHTS = dict(w1=scaled(16, 3, 3, 3), b1=(16,), w2=scaled(12, 16, 3, 3), b2=(12,),
               w3=scaled(16, 12, 3, 3), b3=(16,))


def yolo():
    """A detector in the form of YOLO exports: NonMaxSuppression, then Gather of the selected boxes."""
    nodes = BODY + """
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
    found = dict(wh=scaled(7, 16, 1, 1), bh=(7,), zero=ints(0), one=ints(1), two=ints(2), four=ints(4), seven=ints(7),
                 last=scalar(2, np.int64), first=scalar(0, np.int64), half=scalar(0.7), size=positive(1, 4, 1, 1),
                 m=ints(5), o=floats(0.45), **WEIGHTS)
    for batch in (1, 2):
        case(f"detector_yolo_batch{batch}", 13, nodes, fixed=True,
             x=(batch, 3, 12, 12), t=floats(0.5), **shapes(batch), **found)
    case("detector_yolo_finds_nothing", 13, nodes, fixed=True, x=(1, 3, 12, 12), t=floats(1.5), **shapes(1), **found)


def ssd():
    """A detector in the form of SSD exports: two maps, softmax, a mask with NonZero and Compress."""
    nodes = BODY + """
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
    case("detector_ssd", 13, nodes, fixed=True,
         x=(1, 3, 12, 12), wc=scaled(6, 16, 1, 1), bc=(6,), wb=scaled(8, 16, 1, 1), bb=(8,), classes=ints(1, -1, 3),
         boxes=ints(1, -1, 4), one=ints(1), two=ints(2), three=ints(3), half=scalar(0.6), all=ints(-1), m=ints(4),
         o=floats(0.3), **WEIGHTS)


def host_subgraphs():
    """Host subgraphs that share weights with the network, count its channels, or contain layers."""
    found = BODY + """
        g = Mul(r3, scale)
        gm = ReduceMean<axes=[2, 3], keepdims=0>(g)
        y = MatMul(gm, wm)
        c = Greater(y, zero)
        n = NonZero(c)
        f = Cast<to=1>(n)"""
    rest = dict(wm=scaled(16, 9), zero=scalar(0.0), **WEIGHTS)
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
