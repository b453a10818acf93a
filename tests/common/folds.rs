//! Blocks that fold other axes into the batch, and unfold them: windows, halves, groups and phases.

use super::{Builder, Value, int, ints};

impl Builder {
    /// Adds a convolution inside of four windows (SAM, Swin), which are rows of the batch meanwhile.
    pub(crate) fn windows(&mut self, x: &Value, out: usize) -> Value {
        let (c, s) = (x.channels(), x.square());
        let half = s as i64 / 2;
        let (apart, rows) = (self.rows(), self.whole(&[-1, c as i64, half, half]));
        let apart = self.whole(&[apart, c as i64, 2, half, 2, half]);
        let y = self.node("Reshape", &[&x.name, &apart], vec![], &[]);
        let y = self.node("Transpose", &[&y.name], vec![ints("perm", &[0, 2, 4, 1, 3, 5])], &[]);
        let y = self.node("Reshape", &[&y.name, &rows], vec![], &[c, s / 2, s / 2]);
        let y = self.conv(&y, out, 3, 1, 1);
        let apart = self.whole(&[-1, 2, 2, out as i64, half, half]);
        let y = self.node("Reshape", &[&y.name, &apart], vec![], &[]);
        let y = self.node("Transpose", &[&y.name], vec![ints("perm", &[0, 3, 1, 4, 2, 5])], &[]);
        self.reshaped(&y, &[out, s, s])
    }

    /// Splits the even channels from the odd ones on the first axis (ShuffleNetV2 as FastestDet exports it).
    pub(crate) fn halves(&mut self, x: &Value) -> Vec<Value> {
        let (c, s) = (x.channels(), x.square());
        let pairs = self.whole(&[-1, 2, (s * s) as i64]);
        let y = self.node("Reshape", &[&x.name, &pairs], vec![], &[]);
        let y = self.node("Transpose", &[&y.name], vec![ints("perm", &[1, 0, 2])], &[]);
        let halves = self.whole(&[2, -1, c as i64 / 2, s as i64, s as i64]);
        let y = self.node("Reshape", &[&y.name, &halves], vec![], &[]);
        let half = |b: &mut Self, at: i64| {
            let index = b.scalar(at);
            b.node("Gather", &[&y.name, &index], vec![int("axis", 0)], &[c / 2, s, s])
        };
        vec![half(self, 0), half(self, 1)]
    }

    /// Adds one convolution for both halves of the channels, which are rows of the batch meanwhile.
    pub(crate) fn shared_groups(&mut self, x: &Value, out: usize) -> Value {
        let (c, s) = (x.channels(), x.square());
        let rows = self.whole(&[-1, c as i64 / 2, s as i64, s as i64]);
        let y = self.node("Reshape", &[&x.name, &rows], vec![], &[c / 2, s, s]);
        let y = self.conv(&y, out, 3, 1, 1);
        let together = self.whole(&[-1, 2 * out as i64, s as i64, s as i64]);
        self.node("Reshape", &[&y.name, &together], vec![], &[2 * out, s, s])
    }

    /// Adds a dilated convolution as TensorFlow exports it: the phases are the first part of the batch meanwhile.
    pub(crate) fn phases(&mut self, x: &Value, out: usize) -> Value {
        let (c, s) = (x.channels(), x.square());
        let half = s as i64 / 2;
        let (apart, rows) = (self.rows(), self.whole(&[-1, c as i64, half, half]));
        let apart = self.whole(&[apart, c as i64, half, 2, half, 2]);
        let y = self.node("Reshape", &[&x.name, &apart], vec![], &[]);
        let y = self.node("Transpose", &[&y.name], vec![ints("perm", &[3, 5, 0, 1, 2, 4])], &[]);
        let y = self.node("Reshape", &[&y.name, &rows], vec![], &[c, s / 2, s / 2]);
        let y = self.conv(&y, out, 3, 1, 1);
        let apart = self.whole(&[2, 2, -1, out as i64, half, half]);
        let y = self.node("Reshape", &[&y.name, &apart], vec![], &[]);
        let y = self.node("Transpose", &[&y.name], vec![ints("perm", &[2, 3, 4, 0, 5, 1])], &[]);
        self.reshaped(&y, &[out, s, s])
    }

    /// Adds a convolution of each slice along the first spatial axis, which is folded into the batch meanwhile.
    pub(crate) fn slices(&mut self, x: &Value, out: usize) -> Value {
        let (c, rank) = (x.channels(), x.shape.len() as i64);
        let (depth, inner) = (x.shape[1], &x.shape[2..]);
        let swapped: Vec<i64> = [0, 2, 1].into_iter().chain(3..=rank).collect();
        let signed = |first: &[usize]| -> Vec<i64> {
            [-1].into_iter().chain(first.iter().chain(inner).map(|&d| d as i64)).collect()
        };
        let (rows, apart) = (self.whole(&signed(&[c])), self.whole(&signed(&[depth, out])));
        let y = self.node("Transpose", &[&x.name], vec![ints("perm", &swapped)], &[]);
        let y = self.node("Reshape", &[&y.name, &rows], vec![], &[&[c], inner].concat());
        let y = self.conv_in_space(&y, out, 3, 1, 1);
        let y = self.node("Reshape", &[&y.name, &apart], vec![], &[]);
        self.node("Transpose", &[&y.name], vec![ints("perm", &swapped)], &[&[out, depth], inner].concat())
    }
}
