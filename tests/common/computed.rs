//! Blocks whose weights or positions the network computes.

use super::{Builder, Value, int, ints, text};
use secateur::tensor::Tensor;

impl Builder {
    /// Takes the mean of a value over the batch: `[1, channels, side, side]`.
    fn batch_mean(&mut self, x: &Value) -> Value {
        let axes = self.whole(&[0]);
        self.same("ReduceMean", &[&x.name, &axes], vec![], x)
    }

    /// Adds a linear layer over the channels' means. Returns the name of its node, and `[rows, out]` numbers.
    fn controller(&mut self, x: &Value, out: usize) -> Value {
        let c = x.channels();
        let pooled = self.node("GlobalAveragePool", &[&x.name], vec![], &[c, 1, 1]);
        let flat = self.node("Flatten", &[&pooled.name], vec![], &[c]);
        let (w, b) = (self.floats(&[out, c], 0.0, 0.5), self.floats(&[out], 0.0, 0.3));
        self.node("Gemm", &[&flat.name, &w, &b], vec![int("transB", 1)], &[out])
    }

    /// Adds a convolution by 3×3 filters that a linear layer computes (CondConv, CondInst); also returns the name of that
    /// layer.
    pub(crate) fn dynamic_conv(&mut self, x: &Value, out: usize) -> (String, Value) {
        let (c, s) = (x.channels(), x.square());
        let mean = self.batch_mean(x);
        let layer = self.controller(&mean, out * c * 9);
        let shape = self.whole(&[out as i64, c as i64, 3, 3]);
        let w = self.node("Reshape", &[&layer.name, &shape], vec![], &[c, 3, 3]);
        let y = self.node("Conv", &[&x.name, &w.name], vec![ints("pads", &[1; 4])], &[out, s, s]);
        (layer.name, y)
    }

    /// Adds a cross-correlation of groups of channels with a template that the network computes (trackers).
    pub(crate) fn correlation(&mut self, x: &Value, groups: usize, transposed: bool) -> Value {
        let (c, s) = (x.channels(), x.square());
        let each = c / groups;
        let template = self.conv(x, c * each, 3, 1, 1);
        // Each group has as many filters as channels: the template's channels are the filters' channels.
        let (kernel, stride) = (ints("kernel_shape", &[s as i64 - 2; 2]), ints("strides", &[1, 1]));
        let small = self.node("AveragePool", &[&template.name], vec![kernel, stride], &[c * each, 3, 3]);
        let mean = self.batch_mean(&small);
        let shape = self.whole(&[c as i64, each as i64, 3, 3]);
        let w = self.node("Reshape", &[&mean.name, &shape], vec![], &[each, 3, 3]);
        let op = if transposed { "ConvTranspose" } else { "Conv" };
        let attributes = vec![ints("pads", &[1; 4]), int("group", groups as i64)];
        self.same(op, &[&x.name, &w.name], attributes, x)
    }

    /// Adds a pool with indices, and the unpooling after a layer (SegNet). `literal` states the output's shape.
    pub(crate) fn unpooled(&mut self, x: &Value, literal: bool) -> Value {
        let (c, s) = (x.channels(), x.square());
        let window = || vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
        let [pooled, indices] = ["values", "indices"].map(|part| format!("pool{}{part}", self.count + 1));
        self.several("MaxPool", &[&x.name], window(), &[pooled.clone(), indices.clone()]);
        let half = Value { name: pooled, shape: vec![c, s / 2, s / 2] };
        let inside = self.conv(&half, c, 3, 1, 1);
        let mut inputs = vec![inside.name.clone(), indices];
        if literal {
            inputs.push(self.whole(&[1, c as i64, s as i64, s as i64]));
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        self.node("MaxUnpool", &inputs, window(), &x.shape)
    }

    /// Adds a spatial transformer; also returns the name of the layer that computes its map.
    pub(crate) fn spatial_transformer(&mut self, x: &Value) -> (String, Value) {
        let s = x.square();
        let layer = self.controller(x, 6);
        let shape = self.whole(&[-1, 2, 3]);
        let map = self.node("Reshape", &[&layer.name, &shape], vec![], &[2, 3]);
        let size = self.node("Shape", &[&x.name], vec![], &[]);
        let grid = self.node("AffineGrid", &[&map.name, &size.name], vec![], &[s, s, 2]);
        let mode = text("padding_mode", "border");
        (layer.name, self.same("GridSample", &[&x.name, &grid.name], vec![mode], x))
    }

    /// Adds a deformable convolution with masks; also returns the name of the layer that computes its offsets.
    pub(crate) fn deform_conv(&mut self, x: &Value, out: usize, groups: usize) -> (String, Value) {
        let (c, s) = (x.channels(), x.square());
        let offsets = self.conv(x, 18, 3, 1, 1);
        let mask = self.conv(x, 9, 3, 1, 1);
        let mask = self.same("Sigmoid", &[&mask.name], vec![], &mask);
        let (w, b) = (self.floats(&[out, c / groups, 3, 3], 0.0, 0.3), self.floats(&[out], 0.0, 0.3));
        let inputs = [&x.name, &w, &offsets.name, &b, &mask.name].map(String::as_str);
        let attributes = vec![ints("pads", &[1; 4]), int("group", groups as i64)];
        let y = self.node("DeformConv", &inputs, attributes, &[out, s, s]);
        (offsets.name, y)
    }

    /// Adds the alignment of one constant region of the first image.
    pub(crate) fn region(&mut self, x: &Value) -> Value {
        let regions = self.constant(&Tensor::float(&[1, 4], vec![0.3, 1.2, 6.1, 7.4]));
        let images = self.whole(&[0]);
        let size = vec![int("output_height", 4), int("output_width", 4)];
        self.node("RoiAlign", &[&x.name, &regions, &images], size, &[x.channels(), 4, 4])
    }
}
