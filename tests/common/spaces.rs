//! Blocks over signals, images and volumes: spatial axes of any number.

use super::{Builder, UNARY, Value, int, ints, text};
use secateur::tensor::Tensor;

impl Value {
    /// The number of spatial axes.
    fn rank(&self) -> usize {
        self.shape.len() - 1
    }

    /// The shape with other channels.
    fn with(&self, channels: usize) -> Vec<usize> {
        [&[channels], &self.shape[1..]].concat()
    }
}

impl Builder {
    /// Adds a convolution with bias and "same" padding over all spatial axes.
    pub(crate) fn conv_in_space(
        &mut self,
        x: &Value,
        out: usize,
        kernel: usize,
        stride: usize,
        groups: usize,
    ) -> Value {
        let (c, rank) = (x.channels(), x.rank());
        let fan = (c / groups * kernel.pow(rank as u32)) as f32;
        let w = self.floats(&[vec![out, c / groups], vec![kernel; rank]].concat(), 0.0, (3.0 / fan).sqrt());
        let b = self.floats(&[out], 0.0, 0.3);
        let attributes = vec![
            ints("pads", &vec![(kernel / 2) as i64; 2 * rank]),
            ints("strides", &vec![stride as i64; rank]),
            int("group", groups as i64),
        ];
        let sizes = x.shape[1..].iter().map(|n| (n + 2 * (kernel / 2) - kernel) / stride + 1);
        let shape: Vec<usize> = [out].into_iter().chain(sizes).collect();
        self.node("Conv", &[&x.name, &w, &b], attributes, &shape)
    }

    /// Adds a transposed convolution that doubles all sizes.
    fn up_in_space(&mut self, x: &Value, out: usize) -> Value {
        let rank = x.rank();
        let w = self.floats(&[vec![x.channels(), out], vec![2; rank]].concat(), 0.0, 0.4);
        let b = self.floats(&[out], 0.0, 0.3);
        let shape: Vec<usize> = [out].into_iter().chain(x.shape[1..].iter().map(|n| 2 * n)).collect();
        self.node("ConvTranspose", &[&x.name, &w, &b], vec![ints("strides", &vec![2; rank])], &shape)
    }

    /// Adds a channel shuffle over two groups.
    fn shuffle_in_space(&mut self, x: &Value) -> Value {
        let c = x.channels() as i64;
        let sizes: Vec<i64> = x.shape[1..].iter().map(|&n| n as i64).collect();
        let apart = [&[self.rows(), 2, c / 2], &sizes[..]].concat();
        let perm: Vec<i64> = [0, 2, 1].into_iter().chain(3..3 + sizes.len() as i64).collect();
        let apart = self.whole(&apart);
        let y = self.node("Reshape", &[&x.name, &apart], vec![], &[]);
        let y = self.node("Transpose", &[&y.name], vec![ints("perm", &perm)], &[]);
        self.reshaped(&y, &x.shape)
    }

    /// Adds a squeeze-and-excitation block.
    fn gate_in_space(&mut self, x: &Value) -> Value {
        let c = x.channels();
        let pooled =
            self.node("GlobalAveragePool", &[&x.name], vec![], &[vec![c], vec![1; x.rank()]].concat());
        let narrow = self.conv_in_space(&pooled, c.div_ceil(2), 1, 1, 1);
        let narrow = self.unary("Relu", &narrow);
        let wide = self.conv_in_space(&narrow, c, 1, 1, 1);
        let open = self.same("Sigmoid", &[&wide.name], vec![], &wide);
        self.same("Mul", &[&x.name, &open.name], vec![], x)
    }

    /// Adds a scale of the channels, and a 1×1 convolution as a product, with the channels as the last axis.
    fn channels_last(&mut self, x: &Value, out: usize) -> Value {
        let (c, rank) = (x.channels(), x.rank() as i64);
        let there: Vec<i64> = [0].into_iter().chain(2..rank + 2).chain([1]).collect();
        let back: Vec<i64> = [0, rank + 1].into_iter().chain(1..=rank).collect();
        let y = self.node("Transpose", &[&x.name], vec![ints("perm", &there)], &[]);
        let (scale, w) = (self.floats(&[c], 1.0, 0.5), self.floats(&[c, out], 0.0, 0.5));
        let y = self.node("Mul", &[&y.name, &scale], vec![], &[]);
        let y = self.node("MatMul", &[&y.name, &w], vec![], &[]);
        self.node("Transpose", &[&y.name], vec![ints("perm", &back)], &x.with(out))
    }

    /// Adds a convolution of a signal as that of an image of height 1.
    fn as_image(&mut self, x: &Value, out: usize) -> Value {
        let axis = self.whole(&[2]);
        let y = self.node("Unsqueeze", &[&x.name, &axis], vec![], &[x.channels(), 1, x.shape[1]]);
        let y = self.conv_in_space(&y, out, 3, 1, 1);
        self.node("Squeeze", &[&y.name, &axis], vec![], &x.with(out))
    }

    /// Adds a random block after `x`, which has any number of spatial axes.
    pub(super) fn step_in_space(&mut self, x: &Value, others: &[Value], choice: u8, more: u8) -> Vec<Value> {
        let (c, rank, more) = (x.channels(), x.rank(), usize::from(more));
        let width = 4 + more % 5;
        let small = x.shape[1..].iter().product::<usize>() <= 64;
        let one = match choice % 24 {
            0 | 1 => {
                let stride = if x.shape[1] >= 4 { 1 + more % 2 } else { 1 };
                self.conv_in_space(x, width, 3, stride, 1)
            }
            2 => self.conv_in_space(x, c * (1 + more % 2), 3, 1, c),
            3 if c % 2 == 0 => self.conv_in_space(x, 2 * (2 + more % 3), 3, 1, 2),
            4 | 5 => self.batch_norm(x),
            6 => self.unary(UNARY[more % UNARY.len()], x),
            7 => self.unary(["Sigmoid", "Softplus"][more % 2], x),
            8 | 9 => {
                let branch = self.conv_in_space(x, c, 3, 1, 1);
                self.same("Add", &[&x.name, &branch.name], vec![], x)
            }
            10 => {
                let other = others.iter().rev().find(|o| o.shape[1..] == x.shape[1..]).unwrap_or(x).clone();
                let shape = x.with(c + other.channels());
                self.node("Concat", &[&x.name, &other.name], vec![int("axis", 1)], &shape)
            }
            11 if c >= 4 => {
                let first = 1 + more % (c - 2);
                let sizes = self.whole(&[first as i64, (c - first) as i64]);
                let names = ["a", "b"].map(|part| format!("split{}{part}", self.count + 1));
                self.several("Split", &[&x.name, &sizes], vec![int("axis", 1)], &names);
                let [a, b] = names;
                return vec![
                    Value { name: a, shape: x.with(first) },
                    Value { name: b, shape: x.with(c - first) },
                ];
            }
            12 if c % 2 == 0 => self.shuffle_in_space(x),
            13 => self.gate_in_space(x),
            14 => {
                let window = vec![ints("kernel_shape", &vec![3; rank]), ints("pads", &vec![1; 2 * rank])];
                self.same(["MaxPool", "AveragePool"][more % 2], &[&x.name], window, x)
            }
            15 if small => {
                let scales =
                    self.constant(&Tensor::float(&[rank + 2], [vec![1.0; 2], vec![2.0; rank]].concat()));
                let shape: Vec<usize> = [c].into_iter().chain(x.shape[1..].iter().map(|n| 2 * n)).collect();
                self.node("Resize", &[&x.name, "", &scales], vec![text("mode", "nearest")], &shape)
            }
            16 if small => self.up_in_space(x, width),
            17 => {
                let mut pads = vec![0; 2 * (rank + 2)];
                (pads[1], pads[rank + 3]) = ((more % 3) as i64, 1);
                let pads = self.whole(&pads);
                self.node("Pad", &[&x.name, &pads], vec![], &x.with(c + more % 3 + 1))
            }
            18 if c >= 4 => {
                let [start, end, axis] = [more % 2, c - 1, 1].map(|v| self.whole(&[v as i64]));
                self.node("Slice", &[&x.name, &start, &end, &axis], vec![], &x.with(c - 1 - more % 2))
            }
            19 => {
                let (scale, bias) = (self.floats(&[c], 1.0, 0.5), self.floats(&[c], 0.0, 0.3));
                self.same("InstanceNormalization", &[&x.name, &scale, &bias], vec![], x)
            }
            20 => self.channels_last(x, width),
            21 if rank == 1 => self.as_image(x, width),
            21 if rank == 3 => self.slices(x, width),
            22 => {
                // A linear layer along the last axis, to whose features shifts of the channels are added.
                self.keeps_zero = false;
                let s = x.shape[rank];
                let w = self.floats(&[s, s], 0.0, (3.0 / s as f32).sqrt());
                self.same("MatMul", &[&x.name, &w], vec![], x)
            }
            _ => self.conv_in_space(x, width, 3, 1, 1),
        };
        vec![one]
    }
}
