//! Lists the algorithms that can replace a kernel's own shader on a device.
//!
//! Kernels do not depend on their alternatives: [`algorithms`] inspects the kernel's type. The calls of an algorithm
//! are other kernels of this crate.

use std::any::Any;
use std::sync::Arc;

use crate::kernels::activation::Activation;
use crate::kernels::algorithm::{AdapterKind, Algorithm, AlgorithmCall, CallInput, MOST_TEMP};
use crate::kernels::conv::gemv::Gemv;
use crate::kernels::conv::integers::IntegerConv;
use crate::kernels::conv::lanes::ConvLanes;
use crate::kernels::conv::pooled::PooledConv;
use crate::kernels::conv::shape::{ConvKernel, ImageRange};
use crate::kernels::conv::tiled::ConvTiled;
use crate::kernels::conv::unfold;
use crate::kernels::conv::unfold::Unfold;
use crate::kernels::conv::weight_gradient::WeightGradient;
use crate::kernels::conv::winograd::filters::{FilterSource, product};
use crate::kernels::conv::winograd::gemm::WinogradGemm;
use crate::kernels::conv::winograd::input::WinogradIn;
use crate::kernels::conv::winograd::output::WinogradOut;
use crate::kernels::conv::winograd::tiling::{BLOCK, GemmLayout, TileRange, applies, image_tiles};
use crate::kernels::conv::winograd::transform::PRODUCTS;
use crate::kernels::depthwise::shape::Depthwise;
use crate::kernels::depthwise::texels::DepthwiseTexels;
use crate::kernels::elementwise::{BinaryKernel, BinaryOp, Unary};
use crate::kernels::kernel::Kernel;
use crate::kernels::reduction::{ReduceKernel, ReduceOp};

/// Elements of an unfolded matrix over several images that fit the last cache of a processor.
const CACHED_MATRIX: usize = 1 << 21;
/// Elements of a Winograd temporary that fit a processor's caches beside its texture and the product.
const CACHED_TILES: usize = 1 << 19;

/// Returns the algorithms that compute a call on a device in place of its own shader, in order of preference.
pub fn algorithms(kernel: &dyn Kernel) -> Vec<Algorithm> {
    let kernel: &dyn Any = kernel;
    if let Some(conv) = kernel.downcast_ref::<ConvKernel>() {
        of_conv(conv)
    } else if let Some(pooled) = kernel.downcast_ref::<PooledConv>() {
        of_pooled(pooled)
    } else if let Some(integers) = kernel.downcast_ref::<IntegerConv>() {
        of_integers(integers)
    } else if let Some(depthwise) = kernel.downcast_ref::<Depthwise>() {
        of_depthwise(depthwise)
    } else if let Some(gradient) = kernel.downcast_ref::<WeightGradient>() {
        of_weight_gradient(gradient)
    } else {
        vec![]
    }
}

/// Returns whether fusing a 2×2 max pooling into a convolution can be faster than two calls on some device.
pub fn pooling_pays(conv: &ConvKernel) -> bool {
    !conv.residual
        && conv.windows.out_hw.iter().all(|&n| n > 1)
        && of_winograd(conv, true).iter().any(|algorithm| algorithm.rule.is_some())
}

fn of_conv(conv: &ConvKernel) -> Vec<Algorithm> {
    let mut list = of_winograd(conv, false);
    if Gemv::applies(conv) {
        list.push(Algorithm::single("gemv", Some(AdapterKind::Software), Gemv { conv: conv.clone() }));
    }
    list.extend(unfolded(conv));
    let lanes = ConvLanes { conv: conv.clone(), unfolded: None };
    list.push(Algorithm::single("lanes", Some(AdapterKind::Software), lanes));
    let wide = conv.group_out() >= 32 && conv.out_plane() >= 16;
    let tiled = ConvTiled { conv: conv.clone(), filters: FilterSource::Given };
    list.push(Algorithm::single("tiled", wide.then_some(AdapterKind::Hardware), tiled));
    list
}

/// Winograd with the maxima in its last step, then the convolution's algorithms followed by a pooling.
fn of_pooled(pooled: &PooledConv) -> Vec<Algorithm> {
    let mut list = of_winograd(&pooled.conv, true);
    let (conv, pool) = pooled.alone();
    if conv == pooled.conv {
        let pool: Arc<dyn Kernel> = Arc::new(pool);
        let then_pooled = |mut algorithm: Algorithm| {
            let made = algorithm.temps.len();
            algorithm.temps.push(conv.output_len());
            algorithm.calls.iter_mut().for_each(|call| call.output = call.output.or(Some(made)));
            let inputs = vec![CallInput::Temp(made)];
            algorithm.calls.push(AlgorithmCall { kernel: Arc::clone(&pool), inputs, output: None });
            algorithm
        };
        let taken = |algorithm: &Algorithm| list.iter().any(|own| own.name == algorithm.name);
        let others: Vec<Algorithm> =
            of_conv(&conv).into_iter().filter(|algorithm| !taken(algorithm)).map(then_pooled).collect();
        list.extend(others);
    }
    list
}

/// The convolution's algorithms in floats, between a subtraction of the zero point and a multiplication by the scales.
///
/// Integers up to 2²⁴ are exact as floats. Hardware multiplies integers faster, so only autotuning selects floats there.
fn of_integers(integers: &IntegerConv) -> Vec<Algorithm> {
    let conv = integers.conv.sums();
    let shape = [conv.batch, conv.out_channels, conv.out_plane()];
    let scaled = BinaryKernel::new(BinaryOp::Mul, &shape, &[conv.out_channels, 1], integers.conv.activation);
    let Some(scaled) = scaled.filter(|_| conv.out_channels == conv.out_total) else { return vec![] };
    let scaled: Arc<dyn Kernel> = Arc::new(scaled);
    let len = conv.batch * conv.in_channels * conv.in_plane();
    let centered: Arc<dyn Kernel> =
        Arc::new(Unary { len, activation: Activation::Dequantize(1.0, integers.zero as f32) });
    let in_floats = |mut algorithm: Algorithm| {
        let (x, sums) = (algorithm.temps.len(), algorithm.temps.len() + 1);
        algorithm.temps.extend([len, conv.output_len()]);
        for call in &mut algorithm.calls {
            let images = call.inputs.iter_mut().filter(|input| **input == CallInput::Input(0));
            images.for_each(|input| *input = CallInput::Temp(x));
            call.output = call.output.or(Some(sums));
        }
        let first = AlgorithmCall {
            kernel: Arc::clone(&centered),
            inputs: vec![CallInput::Input(0)],
            output: Some(x),
        };
        algorithm.calls.insert(0, first);
        let inputs = vec![CallInput::Temp(sums), CallInput::Input(3)];
        algorithm.calls.push(AlgorithmCall { kernel: Arc::clone(&scaled), inputs, output: None });
        algorithm.rule = algorithm.rule.filter(|&kind| kind == AdapterKind::Software);
        algorithm
    };
    of_conv(&conv).into_iter().map(in_floats).collect()
}

fn of_depthwise(depthwise: &Depthwise) -> Vec<Algorithm> {
    let texels = || {
        Algorithm::single(
            "texels",
            Some(AdapterKind::Software),
            DepthwiseTexels { depthwise: depthwise.clone() },
        )
    };
    DepthwiseTexels::applies(depthwise).then(texels).into_iter().collect()
}

/// Weight gradients in enough splits to fill a device, and their sum. There is no such algorithm if tiles suffice.
fn of_weight_gradient(whole: &WeightGradient) -> Vec<Algorithm> {
    let split = |name, rule, invocations| {
        let splits = whole.enough_splits(invocations).min(MOST_TEMP / whole.output_len().max(1));
        if whole.splits > 1 || splits < 2 {
            return None;
        }
        let parts = WeightGradient { conv: whole.conv.clone(), splits };
        let sum = ReduceKernel { op: ReduceOp::Sum, outer: 1, axis: splits, inner: whole.output_len() };
        let temps = vec![parts.output_len()];
        let inputs = vec![CallInput::Input(0), CallInput::Input(1)];
        let calls = vec![
            AlgorithmCall { kernel: Arc::new(parts), inputs, output: Some(0) },
            AlgorithmCall { kernel: Arc::new(sum), inputs: vec![CallInput::Temp(0)], output: None },
        ];
        Some(Algorithm { name, rule: Some(rule), temps, calls })
    };
    let many = split("in many splits", AdapterKind::Hardware, 1 << 15);
    let few = split("in few splits", AdapterKind::Software, 1 << 11);
    many.into_iter().chain(few).collect()
}

/// GEMM over an explicit im2col matrix.
///
/// Images are processed in chunks whose matrix fits the cache. The matrix holds whole quads of pixels for any window
/// and plane, and is computed once for all output channels.
fn unfolded(conv: &ConvKernel) -> Option<Algorithm> {
    let most = |len: usize| (1..=conv.batch).rev().find(|n| unfold::len(conv, *n) <= len);
    let at_once = most(CACHED_MATRIX).or_else(|| most(MOST_TEMP).map(|_| 1))?;
    let mut calls = Vec::new();
    for first in (0..conv.batch).step_by(at_once) {
        let images = ImageRange { first, count: at_once.min(conv.batch - first) };
        let unfold = Unfold { conv: conv.clone(), images };
        let inputs = vec![CallInput::Input(0)];
        calls.push(AlgorithmCall { kernel: Arc::new(unfold), inputs, output: Some(0) });
        let lanes = ConvLanes { conv: conv.clone(), unfolded: Some(images) };
        let rest = (1..conv.input_lens().len()).map(CallInput::Input);
        let inputs = std::iter::once(CallInput::Temp(0)).chain(rest).collect();
        calls.push(AlgorithmCall { kernel: Arc::new(lanes), inputs, output: None });
    }
    let quads_already = conv.pointwise() && conv.in_plane().is_multiple_of(4);
    let rule = (!quads_already && conv.group_out() >= 32).then_some(AdapterKind::Software);
    Some(Algorithm { name: "unfolded, lanes", rule, temps: vec![unfold::len(conv, at_once)], calls })
}

/// The Winograd algorithms of a convolution, or with `pooled` of its 2×2 maxima.
fn of_winograd(conv: &ConvKernel, pooled: bool) -> Vec<Algorithm> {
    if !applies(conv) {
        return vec![];
    }
    let (few, many) = (saves(conv, 32), conv.out_channels >= 32 && saves(conv, 4));
    let lanes = |depth, channels, layout| WinogradGemm { depth, channels, layout };
    let tiled = |depth, channels, layout: GemmLayout| ConvTiled {
        conv: product(depth, channels, layout.width),
        filters: FilterSource::Winograd,
    };
    let of = (conv, pooled);
    vec![
        assemble("winograd, lanes", few.then_some(AdapterKind::Software), of, Some(BLOCK), lanes),
        assemble("winograd, tiled", many.then_some(AdapterKind::Hardware), of, None, tiled),
    ]
}

/// Returns whether Winograd saves enough arithmetic, with tiles padded to blocks of `block`.
///
/// At least 16 channels on each side share the transforms.
fn saves(conv: &ConvKernel, block: usize) -> bool {
    let filled = |n: usize| n.next_multiple_of(block) as f64;
    let tiles = image_tiles(conv);
    let direct = 9.0 * filled(conv.out_plane());
    conv.in_channels.min(conv.out_channels) >= 16 && 1.2 * PRODUCTS as f64 * filled(tiles) < direct
}

/// Assembles a Winograd algorithm.
///
/// `gemm` creates the kernel of the 36 batched GEMMs from depth, channels and layout, in blocks of `width` columns.
/// Tiles are processed in chunks whose temporaries stay small: whole images, or blocks that fit a processor's caches,
/// unless the filters, which are read for each chunk, are larger.
fn assemble<K: Kernel>(
    name: &'static str,
    rule: Option<AdapterKind>,
    (conv, pooled): (&ConvKernel, bool),
    width: Option<usize>,
    gemm: impl Fn(usize, usize, GemmLayout) -> K,
) -> Algorithm {
    let (c, k) = (conv.in_channels, conv.out_channels);
    let (unit, most) = match width {
        Some(width) => (width, MOST_TEMP.min(CACHED_TILES.max(PRODUCTS * c * k))),
        None => (image_tiles(conv), MOST_TEMP),
    };
    let all = conv.batch * image_tiles(conv);
    let fits = |&n: &usize| GemmLayout::new(n * unit, width).len(c.max(k)) <= most;
    let at_once = (1..=all.div_ceil(unit)).take_while(fits).last().unwrap_or(1) * unit;
    let longest = GemmLayout::new(at_once.min(all), width);
    let mut calls = Vec::new();
    let mut call = |kernel: Arc<dyn Kernel>, inputs: &[CallInput], output| {
        calls.push(AlgorithmCall { kernel, inputs: inputs.to_vec(), output });
    };
    for first in (0..all).step_by(at_once) {
        let tiles = TileRange { first, count: at_once.min(all - first) };
        let layout = GemmLayout::new(tiles.count, width);
        let product = gemm(c, k, layout);
        let input = WinogradIn { conv: conv.clone(), tiles, layout };
        let output = WinogradOut { conv: conv.clone(), tiles, layout, pooled };
        call(Arc::new(input), &[CallInput::Input(0)], Some(0));
        let operands = [CallInput::Temp(0), CallInput::Input(1), CallInput::Input(2)];
        let operands = &operands[..product.input_lens().len()];
        call(Arc::new(product), operands, Some(1));
        let rest = [CallInput::Temp(1), CallInput::Input(2), CallInput::Input(3)];
        call(Arc::new(output), &rest[..2 + usize::from(conv.residual)], None);
    }
    Algorithm { name, rule, temps: vec![longest.len(c), longest.len(k)], calls }
}
