//! Blocks that mix channels (groups, attention, statistics over channels) in the forms that exporters write.

use super::{Builder, Value, int, ints, text};
use secateur::tensor::Tensor;

/// The form of queries, keys and values, and of their product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heads {
    /// One matrix for all three, split by Gather; MatMul (timm, Swin).
    Fused,
    /// One matrix for all three, split by Split.
    Split,
    /// Three matrices; Einsum (MaxViT).
    Einsum,
    /// Three matrices, with queries and keys normalized within their heads.
    Normed,
}

impl Builder {
    /// Adds a GroupNormalization, with a scale for each group up to opset 20, then for each channel.
    pub(crate) fn group_norm(&mut self, x: &Value, groups: usize) -> Value {
        let of = if self.opset < 21 { groups } else { x.channels() };
        let (scale, bias) = (self.floats(&[of], 1.0, 0.5), self.floats(&[of], 0.0, 0.3));
        let attributes = vec![int("num_groups", groups as i64)];
        self.same("GroupNormalization", &[&x.name, &scale, &bias], attributes, x)
    }

    /// Adds a group normalization as PyTorch exports it: each group is an instance.
    pub(crate) fn group_norm_exported(&mut self, x: &Value, groups: usize) -> Value {
        let (c, s) = (x.channels(), x.square());
        let apart = self.whole(&[0, groups as i64, -1]);
        let together = self.whole(&[0, c as i64, s as i64, s as i64]);
        let y = self.node("Reshape", &[&x.name, &apart], vec![], &[groups, c / groups * s * s]);
        let (one, zero) = (self.floats(&[groups], 1.0, 0.0), self.floats(&[groups], 0.0, 0.0));
        let y = self.same("InstanceNormalization", &[&y.name, &one, &zero], vec![], &y);
        let y = self.node("Reshape", &[&y.name, &together], vec![], &x.shape);
        let (scale, bias) = (self.floats(&[c, 1, 1], 1.0, 0.5), self.floats(&[c, 1, 1], 0.0, 0.3));
        let y = self.same("Mul", &[&y.name, &scale], vec![], x);
        self.same("Add", &[&y.name, &bias], vec![], x)
    }

    /// Adds a group normalization by its definition: subtracts each group's mean, and divides by its deviation.
    pub(crate) fn group_norm_by_hand(&mut self, x: &Value, groups: usize) -> Value {
        let (c, s) = (x.channels(), x.square());
        let (g, each) = (groups as i64, (c / groups) as i64);
        let apart = self.whole(&[0, g, each, s as i64, s as i64]);
        let together = self.whole(&[0, c as i64, s as i64, s as i64]);
        let axes = self.whole(&[2, 3, 4]);
        let y = self.node("Reshape", &[&x.name, &apart], vec![], &[groups, c / groups, s, s]);
        let mean = self.node("ReduceMean", &[&y.name, &axes], vec![], &[groups, 1, 1, 1]);
        let y = self.same("Sub", &[&y.name, &mean.name], vec![], &y);
        let square = self.same("Mul", &[&y.name, &y.name], vec![], &y);
        let variance = self.node("ReduceMean", &[&square.name, &axes], vec![], &[groups, 1, 1, 1]);
        let epsilon = self.constant(&Tensor::float(&[], vec![1e-3]));
        let variance = self.same("Add", &[&variance.name, &epsilon], vec![], &variance);
        let deviation = self.same("Sqrt", &[&variance.name], vec![], &variance);
        let y = self.same("Div", &[&y.name, &deviation.name], vec![], &y);
        self.node("Reshape", &[&y.name, &together], vec![], &x.shape)
    }

    /// Adds a softmax within groups of channels, as in selective kernel networks.
    pub(crate) fn group_softmax(&mut self, x: &Value, groups: usize) -> Value {
        let (c, s) = (x.channels(), x.square());
        let (g, each, s_i) = (groups as i64, (c / groups) as i64, s as i64);
        let (apart, together) = (self.whole(&[0, g, each, s_i, s_i]), self.whole(&[0, c as i64, s_i, s_i]));
        let y = self.node("Reshape", &[&x.name, &apart], vec![], &[groups, c / groups, s, s]);
        let y = self.same("Softmax", &[&y.name], vec![int("axis", 2)], &y);
        self.keeps_zero = false;
        self.node("Reshape", &[&y.name, &together], vec![], &x.shape)
    }

    /// Adds a LayerNormalization over channels, which are moved to the last axis.
    pub(crate) fn layer_norm(&mut self, x: &Value) -> Value {
        // A column of zeros becomes the bias.
        self.keeps_zero &= !self.makes_columns;
        let (last, c) = (self.transpose(x, &[0, 2, 3, 1]), x.channels());
        let (scale, bias) = (self.floats(&[c], 1.0, 0.5), self.floats(&[c], 0.0, 0.3));
        let y = self.same("LayerNormalization", &[&last.name, &scale, &bias], vec![], &last);
        self.transpose(&y, &[0, 3, 1, 2])
    }

    /// Adds CBAM's spatial attention, from the mean and maximum over channels.
    pub(crate) fn spatial_gate(&mut self, x: &Value) -> Value {
        let s = x.square();
        let axes = self.whole(&[1]);
        let mean = self.node("ReduceMean", &[&x.name, &axes], vec![], &[1, s, s]);
        let most = self.node("ReduceMax", &[&x.name, &axes], vec![], &[1, s, s]);
        let both = self.node("Concat", &[&mean.name, &most.name], vec![int("axis", 1)], &[2, s, s]);
        let w = self.floats(&[1, 2, 7, 7], 0.0, 0.2);
        let y = self.node("Conv", &[&both.name, &w], vec![ints("pads", &[3; 4])], &[1, s, s]);
        let gate = self.same("Sigmoid", &[&y.name], vec![], &y);
        self.same("Mul", &[&x.name, &gate.name], vec![], x)
    }

    /// Adds a linear layer over the last axis of tokens × channels.
    fn linear(&mut self, x: &Value, out: usize) -> Value {
        let (tokens, c) = (x.shape[0], x.shape[1]);
        let w = self.floats(&[c, out], 0.0, (3.0 / c as f32).sqrt());
        let b = self.floats(&[out], 0.0, 0.3);
        let y = self.node("MatMul", &[&x.name, &w], vec![], &[tokens, out]);
        self.same("Add", &[&y.name, &b], vec![], &y)
    }

    /// Reshapes `[tokens, heads·size]` to `[heads, tokens, size]`.
    fn by_head(&mut self, x: &Value, heads: usize) -> Value {
        let (tokens, size) = (x.shape[0], x.shape[1] / heads);
        let target = self.whole(&[0, tokens as i64, heads as i64, size as i64]);
        let y = self.node("Reshape", &[&x.name, &target], vec![], &[tokens, heads, size]);
        self.transpose(&y, &[0, 2, 1, 3])
    }

    /// Queries, keys and values of each head.
    fn apart(&mut self, x: &Value, heads: usize, size: usize, form: Heads) -> [Value; 3] {
        let width = heads * size;
        let (tokens, [t, h, d]) = (x.shape[0], [x.shape[0], heads, size].map(|n| n as i64));
        match form {
            Heads::Einsum | Heads::Normed => [(); 3].map(|()| {
                let y = self.linear(x, width);
                self.by_head(&y, heads)
            }),
            Heads::Split => {
                let all = self.linear(x, 3 * width);
                let names = ["q", "k", "v"].map(|part| format!("{}{part}", all.name));
                self.several("Split", &[&all.name], vec![int("axis", -1), int("num_outputs", 3)], &names);
                names.map(|name| self.by_head(&Value { name, shape: vec![tokens, width] }, heads))
            }
            Heads::Fused => {
                let all = self.linear(x, 3 * width);
                let target = self.whole(&[0, t, 3, h, d]);
                let y = self.node("Reshape", &[&all.name, &target], vec![], &[tokens, 3, heads, size]);
                let attributes = vec![ints("perm", &[2, 0, 3, 1, 4])];
                // The batch is the second axis here.
                let y = self.node("Transpose", &[&y.name], attributes, &[0, heads, tokens, size]);
                [0, 1, 2].map(|part| {
                    let index = self.constant(&Tensor::int(&[], vec![part]));
                    let shape = [heads, tokens, size];
                    self.node("Gather", &[&y.name, &index], vec![int("axis", 0)], &shape)
                })
            }
        }
    }

    /// Adds self-attention of the pixels with a relative position bias for each head, and a projection.
    pub(crate) fn attention(
        &mut self,
        x: &Value,
        (heads, size): (usize, usize),
        out: usize,
        form: Heads,
    ) -> Value {
        let (c, s) = (x.channels(), x.square());
        let tokens = s * s;
        let flat = self.whole(&[0, c as i64, -1]);
        let y = self.node("Reshape", &[&x.name, &flat], vec![], &[c, tokens]);
        let y = self.transpose(&y, &[0, 2, 1]);
        let [mut q, mut k, v] = self.apart(&y, heads, size, form);
        if form == Heads::Normed {
            [q, k] = [q, k].map(|y| {
                let (scale, bias) = (self.floats(&[size], 1.0, 0.5), self.floats(&[size], 0.0, 0.3));
                self.same("LayerNormalization", &[&y.name, &scale, &bias], vec![], &y)
            });
            self.keeps_zero = false;
        }
        let scale = self.constant(&Tensor::float(&[], vec![(size as f32).powf(-0.5)]));
        let q = self.same("Mul", &[&q.name, &scale], vec![], &q);
        let products = [heads, tokens, tokens];
        let scores = if form == Heads::Einsum {
            let equation = text("equation", "b h i d, b h j d -> b h i j");
            self.node("Einsum", &[&q.name, &k.name], vec![equation], &products)
        } else {
            let turned = self.transpose(&k, &[0, 1, 3, 2]);
            self.node("MatMul", &[&q.name, &turned.name], vec![], &products)
        };
        let bias = self.floats(&[1, heads, tokens, tokens], 0.0, 0.5);
        let scores = self.same("Add", &[&scores.name, &bias], vec![], &scores);
        let weights = self.same("Softmax", &[&scores.name], vec![int("axis", -1)], &scores);
        let y = if form == Heads::Einsum {
            let equation = text("equation", "bhij,bhjd->bhid");
            self.node("Einsum", &[&weights.name, &v.name], vec![equation], &v.shape)
        } else {
            self.node("MatMul", &[&weights.name, &v.name], vec![], &v.shape)
        };
        let y = self.transpose(&y, &[0, 2, 1, 3]);
        let together = self.whole(&[0, tokens as i64, (heads * size) as i64]);
        let y = self.node("Reshape", &[&y.name, &together], vec![], &[tokens, heads * size]);
        let y = self.linear(&y, out);
        self.picture(&y, s)
    }

    /// Adds self-attention of the pixels as PyTorch exports MultiheadAttention: batch and heads share an axis, whose
    /// length is computed from the batch's.
    pub(crate) fn merged_attention(&mut self, x: &Value, (heads, size): (usize, usize), out: usize) -> Value {
        let (c, s, width) = (x.channels(), x.square(), heads * size);
        let tokens = s * s;
        let flat = self.whole(&[0, c as i64, -1]);
        let y = self.node("Reshape", &[&x.name, &flat], vec![], &[c, tokens]);
        let y = self.transpose(&y, &[0, 2, 1]);
        let shape = self.node("Shape", &[&y.name], vec![], &[]);
        let first = self.whole(&[0]);
        let batch = self.node("Gather", &[&shape.name, &first], vec![int("axis", 0)], &[]);
        let [t, h, d, w] = [tokens, heads, size, width].map(|n| self.whole(&[n as i64]));
        let rows = self.node("Mul", &[&batch.name, &h], vec![], &[]);
        let joined = |b: &mut Self, parts: &[&str]| b.node("Concat", parts, vec![int("axis", 0)], &[]);
        let apart = joined(self, &[&t, &rows.name, &d]);
        let together = joined(self, &[&t, &batch.name, &w]);
        let swapped = || vec![ints("perm", &[1, 0, 2])];
        let [q, k, v] = [(); 3].map(|()| {
            let y = self.linear(&y, width);
            let y = self.node("Transpose", &[&y.name], swapped(), &y.shape);
            let y = self.node("Reshape", &[&y.name, &apart.name], vec![], &[tokens, size]);
            self.node("Transpose", &[&y.name], swapped(), &[tokens, size])
        });
        let k = self.transpose(&k, &[0, 2, 1]);
        let scores = self.node("MatMul", &[&q.name, &k.name], vec![], &[tokens, tokens]);
        let weights = self.same("Softmax", &[&scores.name], vec![int("axis", -1)], &scores);
        let y = self.node("MatMul", &[&weights.name, &v.name], vec![], &[tokens, size]);
        let y = self.node("Transpose", &[&y.name], swapped(), &[tokens, size]);
        let y = self.node("Reshape", &[&y.name, &together.name], vec![], &[tokens, width]);
        let y = self.node("Transpose", &[&y.name], swapped(), &[tokens, width]);
        let y = self.linear(&y, out);
        self.picture(&y, s)
    }

    /// Reshapes tokens × channels back to channels × pixels.
    fn picture(&mut self, x: &Value, side: usize) -> Value {
        let (c, s) = (x.shape[1], side as i64);
        let y = self.transpose(x, &[0, 2, 1]);
        let target = self.whole(&[0, c as i64, s, s]);
        self.node("Reshape", &[&y.name, &target], vec![], &[c, side, side])
    }

    /// Adds a non-local block: attention without heads. Also returns the names of the nodes that compute queries,
    /// keys and values.
    pub(crate) fn non_local(&mut self, x: &Value, width: usize, softmax: bool) -> ([String; 3], Value) {
        let s = x.square();
        let parts = [(); 3].map(|()| self.conv(x, width, 1, 1, 1));
        let flat = self.whole(&[0, width as i64, -1]);
        let [q, k, v] =
            [0, 1, 2].map(|i| self.node("Reshape", &[&parts[i].name, &flat], vec![], &[width, s * s]));
        let q = self.transpose(&q, &[0, 2, 1]);
        let mut map = self.node("MatMul", &[&q.name, &k.name], vec![], &[s * s, s * s]);
        if softmax {
            map = self.same("Softmax", &[&map.name], vec![int("axis", -1)], &map);
        }
        let v = self.transpose(&v, &[0, 2, 1]);
        let y = self.node("MatMul", &[&map.name, &v.name], vec![], &[s * s, width]);
        (parts.map(|p| p.name), self.picture(&y, s))
    }
}
