//! The table of supported operators.

use super::{
    Build, Operator, activation, arg_topk, batch_norm, binary, concat, conv, conv_transpose, deform_conv,
    einsum, gather, gemm, grid_sample, non_max_suppression, nonzero, normalization, pool, quantize,
    recurrent, reduce, reshape, resize, roi_align, scatter, shape, slice, unpool,
};
use crate::error::Result;

/// The newest opset with which this table was compared.
pub const NEWEST_OPSET: i64 = 28;

/// The domain of the operators that ONNX Runtime's optimizer introduces.
pub const MICROSOFT: &str = "com.microsoft";

/// A supported operator of one domain.
#[derive(Debug)]
pub struct OpRow {
    /// The name in the ONNX standard.
    pub name: &'static str,
    /// The opsets that changed the operator, up to [`NEWEST_OPSET`].
    pub history: &'static [i64],
    /// The largest number of inputs of any version.
    pub inputs: usize,
    /// A description in one line, for `docs/operators.md`.
    pub doc: &'static str,
    /// The constructor, which reads the attributes of a node.
    pub build: fn(&Build) -> Result<Box<dyn Operator>>,
}

impl OpRow {
    /// Returns the row of an operator by its domain and name.
    pub fn find(domain: &str, name: &str) -> Option<&'static Self> {
        let rows = match domain {
            "" | "ai.onnx" => OPS,
            MICROSOFT => OPS_OF_MICROSOFT,
            _ => &[],
        };
        rows.iter().find(|row| row.name == name)
    }
}

/// The largest number of inputs of operators without a limit.
const MANY: usize = usize::MAX;

macro_rules! ops {
    ($doc_of_table:literal $table:ident: $($name:literal $history:expr, $inputs:expr, $doc:literal, $build:path;)*) => {
        #[doc = $doc_of_table]
        pub static $table: &[OpRow] = &[$(OpRow { name: $name, history: &$history, inputs: $inputs, doc: $doc, build: $build },)*];
    };
}

ops! {
    "All supported operators of the default domain, in alphabetical order." OPS:
    "Abs" [6, 13], 1, "|x|", activation::abs;
    "Acos" [7, 22], 1, "inverse cosine", activation::acos;
    "Acosh" [9, 22], 1, "inverse hyperbolic cosine", activation::acosh;
    "Add" [7, 13, 14], 2, "a + b with broadcasting", binary::add;
    "AffineGrid" [20], 2, "positions of pixels after affine maps", grid_sample::affine_grid;
    "And" [7], 2, "logical and", binary::and;
    "ArgMax" [1, 11, 12, 13], 1, "index of the largest element", arg_topk::arg_max;
    "ArgMin" [1, 11, 12, 13], 1, "index of the smallest element", arg_topk::arg_min;
    "Asin" [7, 22], 1, "inverse sine", activation::asin;
    "Asinh" [9, 22], 1, "inverse hyperbolic sine", activation::asinh;
    "Atan" [7, 22], 1, "inverse tangent", activation::atan;
    "Atanh" [9, 22], 1, "inverse hyperbolic tangent", activation::atanh;
    "AveragePool" [7, 10, 11, 19, 22], 1, "the mean of a window", pool::average_pool;
    "BatchNormalization" [7, 9, 14, 15], 5, "per-channel scale and shift by stored statistics", batch_norm::batch_norm;
    "Cast" [6, 9, 13, 19, 21, 23, 24, 25, 28], 1, "conversion to another element type", activation::cast;
    "CastLike" [15, 19, 21, 23, 24, 25], 2, "conversion to another tensor's element type", activation::cast_like;
    "Ceil" [6, 13], 1, "rounds up", activation::ceil;
    "Celu" [12, 28], 1, "exponential linear unit, smooth in alpha", activation::celu;
    "Clip" [6, 11, 12, 13], 3, "clamp between two bounds", activation::clip;
    "Compress" [9, 11], 2, "slices selected by a boolean list", nonzero::compress;
    "Concat" [4, 11, 13], MANY, "concatenation along an axis", concat::concat;
    "Constant" [1, 9, 11, 12, 13, 19, 21, 23, 24, 25], 0, "a constant", shape::constant;
    "ConstantOfShape" [9, 20, 21, 23, 24, 25], 1, "a tensor filled with one value", shape::constant_of_shape;
    "Conv" [1, 11, 22], 3, "convolution, 1-D, 2-D and 3-D", conv::conv;
    "ConvTranspose" [1, 11, 22], 3, "transposed convolution, 1-D, 2-D and 3-D", conv_transpose::conv_transpose;
    "Cos" [7, 22], 1, "cosine", activation::cos;
    "Cosh" [9, 22], 1, "hyperbolic cosine", activation::cosh;
    "CumSum" [11, 14], 2, "cumulative sums along an axis", arg_topk::cum_sum;
    "DeformConv" [19, 22], 5, "convolution whose taps are moved by offsets", deform_conv::deform_conv;
    "DepthToSpace" [1, 11, 13, 28], 1, "blocks of channels to blocks of pixels", reshape::depth_to_space;
    "DequantizeLinear" [10, 13, 19, 21, 23, 24, 25], 3, "quantized integers to floats", quantize::dequantize;
    "Div" [7, 13, 14], 2, "a / b with broadcasting", binary::div;
    "Dropout" [7, 10, 12, 13, 22], 3, "identity at inference", reshape::dropout;
    "Einsum" [12], MANY, "sums of products by an equation", einsum::einsum;
    "Elu" [6, 22], 1, "x, or α·(eˣ − 1) below zero", activation::elu;
    "Equal" [7, 11, 13, 19], 2, "a = b", binary::equal;
    "Erf" [9, 13], 1, "error function", activation::erf;
    "Exp" [6, 13], 1, "eˣ", activation::exp;
    "Expand" [8, 13], 2, "broadcast to a shape", reshape::expand;
    "Flatten" [1, 9, 11, 13, 21, 23, 24, 25], 1, "reshape to a matrix", reshape::flatten;
    "Floor" [6, 13], 1, "rounds down", activation::floor;
    "GRU" [7, 14, 22], 6, "gated recurrent units over time steps", recurrent::gru;
    "Gather" [1, 11, 13], 2, "slices by constant indices", gather::gather;
    "GatherElements" [11, 13], 2, "elements by one index each", scatter::gather_elements;
    "GatherND" [11, 12, 13], 2, "slices by tuples of indices", scatter::gather_nd;
    "Gelu" [20], 1, "x·Φ(x)", activation::gelu;
    "Gemm" [7, 9, 11, 13], 3, "α·A·B + β·C", gemm::gemm;
    "GlobalAveragePool" [1, 22], 1, "the mean of each channel", pool::global_average_pool;
    "GlobalLpPool" [2, 22], 1, "the norm of each channel", pool::global_lp_pool;
    "GlobalMaxPool" [1, 22], 1, "the maximum of each channel", pool::global_max_pool;
    "Greater" [7, 9, 13], 2, "a > b", binary::greater;
    "GreaterOrEqual" [12, 16], 2, "a ≥ b", binary::greater_or_equal;
    "GridSample" [16, 20, 22], 2, "images sampled at the positions of a grid", grid_sample::grid_sample;
    "GroupNormalization" [18, 21], 3, "groups of channels to mean 0 and variance 1", normalization::group_norm;
    "HardSigmoid" [6, 22], 1, "piecewise linear, between 0 and 1", activation::hard_sigmoid;
    "HardSwish" [14, 22], 1, "x times HardSigmoid", activation::hard_swish;
    "Hardmax" [1, 11, 13], 1, "1 for the largest element, else 0", reduce::hardmax;
    "Identity" [1, 13, 14, 16, 19, 21, 23, 24, 25], 1, "the input unchanged", reshape::identity;
    "InstanceNormalization" [6, 22], 3, "channels to mean 0 and variance 1", normalization::instance_norm;
    "IsInf" [10, 20], 1, "whether elements are infinite", activation::is_inf;
    "IsNaN" [9, 13, 20], 1, "whether elements are not numbers", activation::is_nan;
    "LRN" [1, 13], 1, "local response normalization over channels", batch_norm::lrn;
    "LSTM" [7, 14, 22], 8, "long short-term memory over time steps", recurrent::lstm;
    "LayerNormalization" [1, 17], 3, "trailing axes to mean 0 and variance 1", normalization::layer_norm;
    "LeakyRelu" [6, 16], 1, "x, or α·x below zero", activation::leaky_relu;
    "Less" [7, 9, 13], 2, "a < b", binary::less;
    "LessOrEqual" [12, 16], 2, "a ≤ b", binary::less_or_equal;
    "Log" [6, 13], 1, "natural logarithm", activation::log;
    "LogSoftmax" [1, 11, 13], 1, "logarithm of softmax", reduce::log_softmax;
    "LpNormalization" [1, 22], 1, "division by the norm along an axis", normalization::lp_norm;
    "MatMul" [1, 9, 13], 2, "matrix product by NumPy's rules", gemm::matmul;
    "Max" [6, 8, 12, 13], MANY, "elementwise maximum", binary::max;
    "MaxPool" [1, 8, 10, 11, 12, 22], 1, "the maximum of a window", pool::max_pool;
    "MaxUnpool" [9, 11, 22], 3, "elements put back where MaxPool found them", unpool::max_unpool;
    "Mean" [6, 8, 13], MANY, "elementwise mean", binary::mean;
    "MeanVarianceNormalization" [9, 13], 1, "axes to mean 0 and variance 1", normalization::mean_variance_norm;
    "Min" [6, 8, 12, 13], MANY, "elementwise minimum", binary::min;
    "Mish" [18, 22], 1, "x·tanh(ln(1 + eˣ))", activation::mish;
    "Mod" [10, 13, 28], 2, "remainder of integers", binary::modulo;
    "Mul" [7, 13, 14], 2, "a·b with broadcasting", binary::mul;
    "Neg" [6, 13], 1, "−x", activation::neg;
    "NonMaxSuppression" [10, 11], 5, "the best of overlapping boxes", non_max_suppression::non_max_suppression;
    "NonZero" [9, 13], 1, "indices of nonzero elements", nonzero::non_zero;
    "Not" [1], 1, "logical not", activation::not;
    "Or" [7], 2, "logical or", binary::or;
    "PRelu" [7, 9, 16], 2, "x, or slope·x below zero", binary::prelu;
    "Pad" [2, 11, 13, 18, 19, 21, 23, 24, 25], 4, "padding by constants, reflections or edges", slice::pad;
    "Pow" [7, 12, 13, 15], 2, "aᵇ with broadcasting", binary::pow;
    "QuantizeLinear" [10, 13, 19, 21, 23, 24, 25], 3, "floats to quantized integers", quantize::quantize;
    "RMSNormalization" [23], 2, "trailing axes to mean square 1", normalization::rms_norm;
    "RNN" [7, 14, 22], 6, "simple recurrent cells over time steps", recurrent::rnn;
    "Range" [11, 27], 3, "evenly spaced numbers", shape::range;
    "Reciprocal" [6, 13], 1, "1/x", activation::reciprocal;
    "ReduceL1" [1, 11, 13, 18], 2, "sum of magnitudes over axes", reduce::reduce_l1;
    "ReduceL2" [1, 11, 13, 18], 2, "root of the sum of squares over axes", reduce::reduce_l2;
    "ReduceLogSum" [1, 11, 13, 18], 2, "logarithm of the sum over axes", reduce::reduce_log_sum;
    "ReduceLogSumExp" [1, 11, 13, 18], 2, "logarithm of the sum of exponentials over axes", reduce::reduce_log_sum_exp;
    "ReduceMax" [1, 11, 12, 13, 18, 20], 2, "largest over axes", reduce::reduce_max;
    "ReduceMean" [1, 11, 13, 18], 2, "mean over axes", reduce::reduce_mean;
    "ReduceMin" [1, 11, 12, 13, 18, 20], 2, "smallest over axes", reduce::reduce_min;
    "ReduceProd" [1, 11, 13, 18], 2, "product over axes", reduce::reduce_prod;
    "ReduceSum" [1, 11, 13], 2, "sum over axes", reduce::reduce_sum;
    "ReduceSumSquare" [1, 11, 13, 18], 2, "sum of squares over axes", reduce::reduce_sum_square;
    "Relu" [6, 13, 14], 1, "max(0, x)", activation::relu;
    "Reshape" [5, 13, 14, 19, 21, 23, 24, 25], 2, "another shape with the same elements", reshape::reshape;
    "Resize" [10, 11, 13, 18, 19], 4, "resampling by nearest, linear or cubic interpolation", resize::resize;
    "RoiAlign" [10, 16, 22], 3, "regions of images, resampled to one size", roi_align::roi_align;
    "Round" [11, 22], 1, "to the nearest integer, ties to even", activation::round;
    "Scatter" [9, 11], 3, "the old name of ScatterElements", scatter::scatter_elements;
    "ScatterElements" [11, 13, 16, 18], 3, "elements replaced by one index each", scatter::scatter_elements;
    "ScatterND" [11, 13, 16, 18], 3, "slices replaced by tuples of indices", scatter::scatter_nd;
    "Selu" [6, 22], 1, "scaled exponential linear unit", activation::selu;
    "Shape" [1, 13, 15, 19, 21, 23, 24, 25], 1, "the dimensions of a tensor", shape::shape;
    "Shrink" [9], 1, "moves elements towards 0, small ones to 0", activation::shrink;
    "Sigmoid" [6, 13], 1, "1/(1 + e⁻ˣ)", activation::sigmoid;
    "Sign" [9, 13], 1, "−1, 0 or 1", activation::sign;
    "Sin" [7, 22], 1, "sine", activation::sin;
    "Sinh" [9, 22], 1, "hyperbolic sine", activation::sinh;
    "Size" [1, 13, 19, 21, 23, 24, 25], 1, "the number of elements", shape::size;
    "Slice" [1, 10, 11, 13], 5, "a sub-tensor by ranges and steps", slice::slice;
    "Softmax" [1, 11, 13], 1, "normalized exponentials, sum 1", reduce::softmax;
    "Softplus" [1, 22], 1, "ln(1 + eˣ)", activation::softplus;
    "Softsign" [1, 22], 1, "x / (1 + |x|)", activation::softsign;
    "SpaceToDepth" [1, 13, 28], 1, "blocks of pixels to blocks of channels", reshape::space_to_depth;
    "Split" [2, 11, 13, 18], 2, "splits along an axis", concat::split;
    "Sqrt" [6, 13], 1, "√x", activation::sqrt;
    "Squeeze" [1, 11, 13, 21, 23, 24, 25], 2, "removes axes of size 1", reshape::squeeze;
    "Sub" [7, 13, 14], 2, "a − b with broadcasting", binary::sub;
    "Sum" [6, 8, 13], MANY, "elementwise sum", binary::sum;
    "Swish" [24], 1, "x times Sigmoid of α·x", activation::swish;
    "Tan" [7, 22], 1, "tangent", activation::tan;
    "Tanh" [6, 13], 1, "hyperbolic tangent", activation::tanh;
    "ThresholdedRelu" [10, 22], 1, "x where above α, else 0", activation::thresholded_relu;
    "Tile" [6, 13], 3, "repeats along axes", gather::tile;
    "TopK" [1, 10, 11, 24], 2, "the largest elements and their indices", arg_topk::top_k;
    "Transpose" [1, 13, 21, 23, 24, 25], 1, "permutation of axes", reshape::transpose;
    "Unique" [11], 1, "distinct elements or slices", nonzero::unique;
    "Unsqueeze" [1, 11, 13, 21, 23, 24, 25], 2, "inserts axes of size 1", reshape::unsqueeze;
    "Upsample" [7, 9, 10], 2, "the old name of Resize", resize::upsample;
    "Where" [9, 16], 3, "a or b by a boolean condition", binary::select;
    "Xor" [7], 2, "logical exclusive or", binary::xor;
}

ops! {
    "All supported operators of the domain com.microsoft that are not read as others, in alphabetical order." OPS_OF_MICROSOFT:
    "FusedMatMul" [1], 2, "α·A·B by NumPy's rules, with optional transposes", gemm::fused_matmul;
}
