//! The algorithms that can stand for a kernel's own shader on a device, one list per kernel.
//!
//! Kernels do not know their alternatives: [`algorithms`] looks at the kernel's type. An algorithm's calls are other
//! kernels of this crate.

use std::any::Any;
use std::sync::Arc;

use crate::kernels::algorithm::{Adapters, Call, MOST_TEMP, Source, Way};
use crate::kernels::conv::gemv::Rows;
use crate::kernels::conv::lanes::Lanes;
use crate::kernels::conv::pooled::Pooled;
use crate::kernels::conv::shape::{Conv, Images};
use crate::kernels::conv::tiled::Tiled;
use crate::kernels::conv::unfold;
use crate::kernels::conv::unfold::Unfold;
use crate::kernels::depthwise::shape::Depthwise;
use crate::kernels::depthwise::texels::Texels;
use crate::kernels::kernel::Kernel;
use crate::kernels::winograd::filters::{Filters, product};
use crate::kernels::winograd::gemm::Products;
use crate::kernels::winograd::input::WinogradIn;
use crate::kernels::winograd::output::WinogradOut;
use crate::kernels::winograd::tiling::{BLOCK, Layout, Tiles, applies, of_image};
use crate::kernels::winograd::transform::PRODUCTS;

/// Elements of an unfolded matrix over several images that fit the last cache of a processor.
const CACHED_MATRIX: usize = 1 << 21;
/// Elements of a Winograd temporary that fit a processor's caches beside its texture and the product.
const CACHED_TILES: usize = 1 << 19;

/// Returns the algorithms that compute a call on a device in place of its own shader, in order of preference.
pub fn algorithms(kernel: &dyn Kernel) -> Vec<Way> {
    let kernel: &dyn Any = kernel;
    if let Some(conv) = kernel.downcast_ref::<Conv>() {
        of_conv(conv)
    } else if let Some(pooled) = kernel.downcast_ref::<Pooled>() {
        of_pooled(pooled)
    } else if let Some(depthwise) = kernel.downcast_ref::<Depthwise>() {
        of_depthwise(depthwise)
    } else {
        vec![]
    }
}

/// Returns whether fusing a 2×2 max pooling into a convolution can be faster than two calls on some device.
pub fn pooling_pays(conv: &Conv) -> bool {
    !conv.addend
        && conv.windows.out_hw.iter().all(|&n| n > 1)
        && of_winograd(conv, true).iter().any(|way| way.rule.is_some())
}

fn of_conv(conv: &Conv) -> Vec<Way> {
    let mut ways = of_winograd(conv, false);
    if Rows::applies(conv) {
        ways.push(Way::one("rows", Some(Adapters::Software), Rows { conv: conv.clone() }));
    }
    ways.extend(unfolded(conv));
    let lanes = Lanes { conv: conv.clone(), unfolded: None };
    ways.push(Way::one("lanes", Some(Adapters::Software), lanes));
    let wide = conv.group_out() >= 32 && conv.out_plane() >= 16;
    let tiled = Tiled { conv: conv.clone(), filters: Filters::Given };
    ways.push(Way::one("tiled", wide.then_some(Adapters::Real), tiled));
    ways
}

/// Winograd with the maxima in its last step, then the convolution's algorithms followed by a pooling.
fn of_pooled(pooled: &Pooled) -> Vec<Way> {
    let mut ways = of_winograd(&pooled.conv, true);
    let (conv, pool) = pooled.alone();
    if conv == pooled.conv {
        let pool: Arc<dyn Kernel> = Arc::new(pool);
        let then_pooled = |mut way: Way| {
            let made = way.temps.len();
            way.temps.push(conv.output_len());
            way.calls.iter_mut().for_each(|call| call.output = call.output.or(Some(made)));
            let inputs = vec![Source::Temp(made)];
            way.calls.push(Call { kernel: Arc::clone(&pool), inputs, output: None });
            way
        };
        let taken = |way: &Way| ways.iter().any(|own| own.name == way.name);
        let others: Vec<Way> =
            of_conv(&conv).into_iter().filter(|way| !taken(way)).map(then_pooled).collect();
        ways.extend(others);
    }
    ways
}

fn of_depthwise(depthwise: &Depthwise) -> Vec<Way> {
    let texels = || Way::one("texels", Some(Adapters::Software), Texels { depthwise: depthwise.clone() });
    Texels::applies(depthwise).then(texels).into_iter().collect()
}

/// GEMM over an explicit im2col matrix.
///
/// Images are processed in chunks whose matrix fits the cache. The matrix holds whole quads of pixels for any window
/// and plane, and is computed once for all output channels.
fn unfolded(conv: &Conv) -> Option<Way> {
    let most = |len: usize| (1..=conv.batch).rev().find(|n| unfold::len(conv, *n) <= len);
    let at_once = most(CACHED_MATRIX).or_else(|| most(MOST_TEMP).map(|_| 1))?;
    let mut calls = Vec::new();
    for first in (0..conv.batch).step_by(at_once) {
        let images = Images { first, count: at_once.min(conv.batch - first) };
        let unfold = Unfold { conv: conv.clone(), images };
        let inputs = vec![Source::Input(0)];
        calls.push(Call { kernel: Arc::new(unfold), inputs, output: Some(0) });
        let lanes = Lanes { conv: conv.clone(), unfolded: Some(images) };
        let rest = (1..conv.input_lens().len()).map(Source::Input);
        let inputs = std::iter::once(Source::Temp(0)).chain(rest).collect();
        calls.push(Call { kernel: Arc::new(lanes), inputs, output: None });
    }
    let quads_already = conv.pointwise() && conv.in_plane().is_multiple_of(4);
    let rule = (!quads_already && conv.group_out() >= 32).then_some(Adapters::Software);
    Some(Way { name: "unfolded, lanes", rule, temps: vec![unfold::len(conv, at_once)], calls })
}

/// The Winograd algorithms of a convolution, or with `pooled` of its 2×2 maxima.
fn of_winograd(conv: &Conv, pooled: bool) -> Vec<Way> {
    if !applies(conv) {
        return vec![];
    }
    let (few, many) = (saves(conv, 32), conv.out_channels >= 32 && saves(conv, 4));
    let lanes = |depth, channels, layout| Products { depth, channels, layout };
    let tiled = |depth, channels, layout: Layout| Tiled {
        conv: product(depth, channels, layout.width),
        filters: Filters::Winograd,
    };
    let of = (conv, pooled);
    vec![
        assemble("winograd, lanes", few.then_some(Adapters::Software), of, Some(BLOCK), lanes),
        assemble("winograd, tiled", many.then_some(Adapters::Real), of, None, tiled),
    ]
}

/// Returns whether Winograd saves enough arithmetic, with tiles padded to blocks of `block`.
///
/// At least 16 channels on each side share the transforms.
fn saves(conv: &Conv, block: usize) -> bool {
    let filled = |n: usize| n.next_multiple_of(block) as f64;
    let tiles = of_image(conv);
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
    rule: Option<Adapters>,
    (conv, pooled): (&Conv, bool),
    width: Option<usize>,
    gemm: impl Fn(usize, usize, Layout) -> K,
) -> Way {
    let (c, k) = (conv.in_channels, conv.out_channels);
    let (unit, most) = match width {
        Some(width) => (width, MOST_TEMP.min(CACHED_TILES.max(PRODUCTS * c * k))),
        None => (of_image(conv), MOST_TEMP),
    };
    let all = conv.batch * of_image(conv);
    let fits = |&n: &usize| Layout::new(n * unit, width).len(c.max(k)) <= most;
    let at_once = (1..=all.div_ceil(unit)).take_while(fits).last().unwrap_or(1) * unit;
    let longest = Layout::new(at_once.min(all), width);
    let mut calls = Vec::new();
    let mut call = |kernel: Arc<dyn Kernel>, inputs: &[Source], output| {
        calls.push(Call { kernel, inputs: inputs.to_vec(), output });
    };
    for first in (0..all).step_by(at_once) {
        let tiles = Tiles { first, count: at_once.min(all - first) };
        let layout = Layout::new(tiles.count, width);
        let product = gemm(c, k, layout);
        let input = WinogradIn { conv: conv.clone(), tiles, layout };
        let output = WinogradOut { conv: conv.clone(), tiles, layout, pooled };
        call(Arc::new(input), &[Source::Input(0)], Some(0));
        let operands = [Source::Temp(0), Source::Input(1), Source::Input(2)];
        let operands = &operands[..product.input_lens().len()];
        call(Arc::new(product), operands, Some(1));
        let rest = [Source::Temp(1), Source::Input(2), Source::Input(3)];
        call(Arc::new(output), &rest[..2 + usize::from(conv.addend)], None);
    }
    Way { name, rule, temps: vec![longest.len(c), longest.len(k)], calls }
}
