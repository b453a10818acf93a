//! Compares every kernel's host version with its reference, and every shader with its Rust side.
//!
//! Each kernel has its own test cases. Outputs start as NaN, which exposes unwritten elements unless the call writes
//! only part of its buffer. Kernels that accumulate start from numbers.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use naga::{AddressSpace, Module, StorageAccess, TypeInner};
use secateur::compare::compare;
use secateur::kernels::activation::Activation;
use secateur::kernels::binding::InputBinding;
use secateur::kernels::conv::ConvKernel;
use secateur::kernels::elementwise::{BinaryKernel, BinaryOp};
use secateur::kernels::gemm::MatMulKernel;
use secateur::kernels::moments::ChannelStats;
use secateur::kernels::moments::GramKernel;
use secateur::kernels::movement::{Copy, Relayout};
use secateur::kernels::reduction::{PoolKernel, PoolKind};
use secateur::kernels::reduction::{ReduceKernel, ReduceOp};
use secateur::kernels::window::Windows;
use secateur::kernels::{CASES, Case, KERNELS, Kernel, KernelRow, cases_of, grid};
use secateur::tensor::Precision;

#[path = "common/shader_module.rs"]
mod shader_module;

use shader_module::shader_module;

/// The first case's shader for single precision, parsed and validated.
fn module(row: &KernelRow) -> Module {
    shader_module(&*cases_of(row)[0].kernel, Precision::F32).0
}

/// Values between layers may be f16; counts, indices and sums may not.
#[test]
fn every_shader_except_indices_sums_and_transforms_takes_f16() {
    let exact = [
        "accumulate",
        "adamw",
        "arg",
        "channel_sums",
        "channel_stats",
        "conv_weight_gradient",
        "cross_moment",
        "filter_squares",
        "filter_sums",
        "gram",
        "moving_average",
        "pool_indices",
        "recurrent",
        "winograd_gemm",
        "roofline",
        "scale_filters",
        "sgd",
        "shrink_factors",
        "filter_squares",
        "sum_squares",
        "topk",
        "unfold",
        "value_counts",
    ];
    for row in KERNELS {
        let cases = cases_of(row);
        let kinds: BTreeMap<_, _> = cases.iter().map(|case| (case.kernel.residual(), case)).collect();
        kinds.values().for_each(|case| drop(shader_module(&*case.kernel, Precision::F16)));
        let part = row.name.starts_with("winograd_in");
        assert_eq!(row.writes_f16(), !part && !exact.contains(&row.name), "{} writes", row.name);
        let reads_none = [
            "accumulate",
            "adamw",
            "fill",
            "filter_squares",
            "filter_sums",
            "moving_average",
            "roofline",
            "scale_filters",
            "sgd",
            "shrink_factors",
            "sum_squares",
            "winograd_gemm",
            "winograd_out",
        ];
        let reads = !cases_of(row)[0].kernel.input_lens().is_empty() && !reads_none.contains(&row.name);
        // The first input of a selection is its condition.
        assert_eq!(row.reads_f16(usize::from(row.name == "select")), reads, "{} reads", row.name);
    }
}

fn widen(inputs: &[Vec<f32>]) -> Vec<Vec<f64>> {
    inputs.iter().map(|x| x.iter().map(|&x| x.into()).collect()).collect()
}

/// The output of the reference and of the host version.
fn both_versions(case: &Case) -> (Vec<f64>, Vec<f32>) {
    let kernel = &case.kernel;
    let before: Vec<f32> = (0..kernel.output_len())
        .map(|i| if kernel.accumulates() { (i % 17) as f32 - 5.5 } else { f32::NAN })
        .collect();
    let mut expected: Vec<f64> = before.iter().map(|&x| x.into()).collect();
    let wide = widen(&case.inputs);
    kernel.reference(&wide.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut expected);
    let mut got = before;
    kernel.cpu(&case.inputs.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut got);
    (expected, got)
}

/// Kernels that write part of their output: some channels, directions or images, or rows without their padding.
const PARTIAL: &[&str] = &[
    "conv",
    "conv_integers",
    "conv_lanes",
    "conv_lanes_quads",
    "conv_pooled",
    "conv_tiled",
    "copy",
    "copy_gradient",
    "recurrent",
    "scatter",
    "filter_squares",
    "sum_squares",
    "winograd_gemm",
    "gemv",
    "winograd_in",
    "winograd_in_quads",
    "winograd_out",
];

#[test]
fn the_host_agrees_with_the_definition() {
    assert!(!KERNELS.is_empty());
    for row in KERNELS {
        let cases = cases_of(row);
        for case in cases {
            let name = format!("{}, {}", row.name, case.label);
            assert_eq!(case.kernel.row().name, row.name, "{name} is another kernel's case");
            let lens: Vec<usize> = case.inputs.iter().map(Vec::len).collect();
            assert_eq!(case.kernel.input_lens(), lens, "{name}: inputs");
            let (mut expected, mut got) = both_versions(&case);
            // The host must write exactly the elements that the reference writes.
            let partial = expected.iter().any(|e| e.is_nan());
            assert!(!partial || PARTIAL.contains(&row.name), "{name}: a part is not written");
            for (index, (e, g)) in expected.iter_mut().zip(&mut got).enumerate() {
                assert_eq!(e.is_nan(), g.is_nan(), "{name}: element {index} is written by one version only");
                if e.is_nan() {
                    (*e, *g) = (0.0, 0.0);
                }
            }
            let verdict = compare(&got, &expected, case.kernel.tolerance());
            assert!(verdict.passed(), "{name}: {verdict}");
        }
    }
}

/// Returns every shader file below a folder, relative to it and without extension, except shared parts.
fn shader_files(folder: &Path) -> BTreeSet<String> {
    let (mut open, mut files) = (vec![folder.to_path_buf()], BTreeSet::new());
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        assert!(path.extension().is_some_and(|e| e == "wgsl"), "{} is no shader", path.display());
        let inside = path.strip_prefix(folder).unwrap().with_extension("");
        let parts: Vec<_> = inside.components().map(|part| part.as_os_str().to_string_lossy()).collect();
        files.insert(parts.join("/"));
    }
    files.retain(|file| !file.starts_with("shared/"));
    files
}

#[test]
fn shaders_and_rows_are_the_same_set() {
    let files = shader_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders"));
    let rows: BTreeSet<String> = KERNELS.iter().map(|row| row.file.to_owned()).collect();
    assert!(!rows.is_empty());
    assert_eq!(files, rows);
    assert_eq!(rows.len(), KERNELS.len(), "a file twice");
    let names: BTreeSet<&str> = KERNELS.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), KERNELS.len(), "a name twice");
}

#[test]
fn every_kernel_has_test_cases() {
    let rows = KERNELS.iter().map(|row| row.name).collect::<Vec<_>>();
    assert_eq!(CASES.iter().map(|(row, _)| row.name).collect::<Vec<_>>(), rows);
    for row in KERNELS {
        assert!(cases_of(row).len() >= 4, "{} has only {} test cases", row.name, cases_of(row).len());
    }
}

#[test]
fn uniforms_have_the_layout_of_their_rust_side() {
    for row in KERNELS {
        let module = module(row);
        let (_, params) = module
            .global_variables
            .iter()
            .find(|(_, variable)| variable.space == AddressSpace::Uniform)
            .unwrap_or_else(|| panic!("{} has no uniform", row.name));
        let TypeInner::Struct { members, span } = &module.types[params.ty].inner else {
            panic!("the uniform of {} is no struct", row.name);
        };
        let layout: Vec<(&str, usize)> =
            members.iter().map(|m| (m.name.as_deref().unwrap_or(""), m.offset as usize)).collect();
        assert_eq!(layout, row.params, "{}", row.name);
        assert_eq!(*span as usize, row.params_size, "{}: size", row.name);
        for case in cases_of(row) {
            assert_eq!(case.kernel.dispatch().params.len(), row.params_size, "{}", row.name);
        }
    }
}

#[test]
fn bindings_follow_the_convention() {
    for row in KERNELS {
        let bound = |kernel: &dyn Kernel| -> BTreeMap<u32, AddressSpace> {
            let module = shader_module(kernel, Precision::F32).0;
            let variables = module.global_variables.iter();
            variables
                .filter_map(|(_, variable)| variable.binding.map(|binding| (binding, variable.space)))
                .map(|(binding, space)| {
                    assert_eq!(binding.group, 0, "{}", row.name);
                    (binding.binding, space)
                })
                .collect()
        };
        let read = AddressSpace::Storage { access: StorageAccess::LOAD };
        let write = AddressSpace::Storage { access: StorageAccess::LOAD | StorageAccess::STORE };
        for case in cases_of(row) {
            let input = |input| match case.kernel.binding(input) {
                InputBinding::Buffer => read,
                InputBinding::Texels(_) => AddressSpace::Handle,
            };
            let bound = bound(&*case.kernel);
            let inputs = (0..case.kernel.input_lens().len()).map(input);
            let expected: Vec<AddressSpace> =
                [AddressSpace::Uniform, write].into_iter().chain(inputs).collect();
            assert_eq!(bound.values().copied().collect::<Vec<_>>(), expected, "{}", row.name);
            assert!(bound.keys().copied().eq(0..expected.len() as u32), "{}: a gap", row.name);
        }
    }
}

#[test]
fn launches_name_every_override_and_fit_the_grid() {
    for row in KERNELS {
        let module = module(row);
        assert_eq!(module.entry_points.len(), 1, "{}", row.name);
        assert_eq!(module.entry_points[0].name, "main", "{}", row.name);
        assert_eq!(module.entry_points[0].workgroup_size, [64, 1, 1], "{}", row.name);
        let declared: BTreeSet<&str> =
            module.overrides.iter().filter_map(|(_, o)| o.name.as_deref()).collect();
        for case in cases_of(row) {
            let dispatch = case.kernel.dispatch();
            let given: BTreeSet<&str> = dispatch.overrides.iter().map(|(name, _)| *name).collect();
            assert_eq!(given, declared, "{}", row.name);
            assert_eq!(given.len(), dispatch.overrides.len(), "{}: an override twice", row.name);
            assert!(dispatch.workgroups.iter().all(|n| (1..=65_535).contains(n)), "{}", row.name);
        }
    }
}

#[test]
fn the_grid_covers_all_invocations() {
    for wanted in [0, 1, 64, 65, 65_535 * 64, 65_535 * 64 + 1, 65_536 * 64, (1 << 31) - 1] {
        let [x, y, z] = grid(wanted).map(|n| n as usize);
        assert!(x <= 65_535 && y <= 65_535 && z == 1);
        let covered = x * y * 64;
        assert!(covered >= wanted, "{wanted}");
        // At most one idle workgroup in each row of the grid.
        assert!(covered < wanted + 64 * (y + 1), "{wanted}");
    }
}

/// The bits of an image must not depend on its batch.
#[test]
fn the_batch_changes_no_bit() {
    let alone = |k: &dyn Fn(usize) -> Arc<dyn Kernel>, batch: usize, shared: &[usize]| {
        let many = k(batch);
        let mut inputs: Vec<Vec<f32>> = Vec::new();
        for (i, &len) in many.input_lens().iter().enumerate() {
            inputs.push((0..len).map(|j| (((j * 7919 + i * 104_729) % 1009) as f32 / 504.5) - 1.0).collect());
        }
        let run = |kernel: &dyn Kernel, inputs: &[&[f32]]| {
            let mut out = vec![f32::NAN; kernel.output_len()];
            kernel.cpu(inputs, &mut out);
            out.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        };
        let together = run(&*many, &inputs.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let one = k(1);
        for image in 0..batch {
            let own: Vec<&[f32]> = inputs
                .iter()
                .enumerate()
                .map(|(i, x)| {
                    let len = one.input_lens()[i];
                    if shared.contains(&i) { x.as_slice() } else { &x[image * len..][..len] }
                })
                .collect();
            let len = one.output_len();
            assert_eq!(run(&*one, &own), together[image * len..][..len], "image {image} of {many:?}");
        }
    };
    let conv = ConvKernel {
        batch: 1,
        groups: 1,
        in_channels: 67,
        out_channels: 133,
        windows: Windows { kernel: [3, 3], pad: [1, 1], ..Windows::points([15, 13]) },
        out_offset: 0,
        out_total: 133,
        residual: false,
        activation: Activation::None,
    };
    let rows = ConvKernel { windows: Windows::points([1, 1]), ..conv.clone() };
    let point = ConvKernel { windows: Windows::points([15, 13]), ..conv.clone() };
    let stride =
        ConvKernel { windows: Windows { out_hw: [8, 7], stride: [2, 2], ..conv.windows }, ..conv.clone() };
    // Planes for larger tiles.
    let large =
        ConvKernel { windows: Windows { in_hw: [31, 29], out_hw: [31, 29], ..conv.windows }, ..conv.clone() };
    // Planes of a few pixels more than whole vectors: images of a batch share strips.
    let small =
        ConvKernel { windows: Windows { in_hw: [7, 7], out_hw: [7, 7], ..conv.windows }, ..conv.clone() };
    let with = |conv: ConvKernel| [ConvKernel { residual: true, ..conv.clone() }, conv];
    for conv in [conv, rows, point, stride, large, small].into_iter().flat_map(with) {
        alone(&|batch| Arc::new(ConvKernel { batch, ..conv.clone() }), 19, &[1, 2]);
    }
    let product = |batch| -> Arc<dyn Kernel> {
        let [a_batched, b_batched] = [true; 2];
        Arc::new(MatMulKernel {
            batch,
            m: 17,
            k: 65,
            n: 9,
            a_batched,
            b_batched,
            activation: Activation::Tanh,
        })
    };
    alone(&product, 5, &[]);
    alone(&|batch| Arc::new(ChannelStats::new(batch, [1, 5, 700], None)), 3, &[]);
}

/// Kernels that support micro-batches compute the same bits for parts of a batch.
#[test]
fn parts_of_a_batch_change_no_bit() {
    let bits = |out: Vec<f32>| out.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    let run = |kernel: &dyn Kernel, inputs: &[&[f32]]| {
        let mut out = vec![f32::NAN; kernel.output_len()];
        kernel.cpu(inputs, &mut out);
        bits(out)
    };
    let mut tried = BTreeSet::new();
    for case in KERNELS.iter().flat_map(|row| cases_of(row)) {
        for (batch, images) in [(2, 1), (3, 1), (4, 2), (6, 3)] {
            let Some(part) = case.kernel.micro_batch(batch, images) else { continue };
            let inputs: Vec<&[f32]> = case.inputs.iter().map(Vec::as_slice).collect();
            let whole = run(&*case.kernel, &inputs);
            let len = part.output_len();
            assert_eq!(len * batch, whole.len() * images, "{}", case.label);
            for index in 0..batch / images {
                let own = inputs.iter().zip(part.input_lens());
                let own: Vec<&[f32]> =
                    own.map(|(x, len)| if len == x.len() { x } else { &x[index * len..][..len] }).collect();
                assert_eq!(run(&*part, &own), whole[index * len..][..len], "{}, part {index}", case.label);
            }
            tried.insert(case.kernel.row().name);
        }
    }
    let all = [
        "affine",
        "binary",
        "conv",
        "conv_integers",
        "conv_pooled",
        "depthwise",
        "lrn",
        "pool",
        "reduce",
        "unary",
    ];
    assert_eq!(tried, BTreeSet::from(all));
}

/// Sums must not depend on the batches, and images of weight 0 must not count.
#[test]
fn sums_do_not_depend_on_the_batch() {
    let windows = Windows { kernel: [3, 3], pad: [1, 1], ..Windows::points([31, 29]) };
    let wide = GramKernel {
        batch: 5,
        samples: 5,
        slices: 1,
        groups: 1,
        channels: 67,
        channels_last: false,
        windows,
    };
    let grouped = GramKernel { groups: 3, channels: 15, ..wide.clone() };
    let rows = GramKernel { channels_last: true, windows: Windows::points([1, 700]), ..wide.clone() };
    for gram in [wide, grouped, rows] {
        let len = gram.input_lens()[0];
        let x: Vec<f32> = (0..len).map(|j| ((j * 7919 % 1009) as f32 / 504.5) - 0.5).collect();
        let image = len / gram.batch;
        let mut together = vec![0.25; gram.output_len()];
        gram.cpu(&[&x, &[1.0, 1.0, 0.0, 1.0, 1.0]], &mut together);
        let mut apart = vec![0.25; gram.output_len()];
        for i in [0, 1, 3, 4] {
            let alone = GramKernel { batch: 1, samples: 1, ..gram.clone() };
            alone.cpu(&[&x[i * image..][..image], &[1.0]], &mut apart);
        }
        assert!(together.iter().zip(&apart).all(|(a, b)| a.to_bits() == b.to_bits()), "{gram:?}");
        // The number of windows, plus the initial value.
        let matrix = gram.side() * gram.side();
        let last_group = together.chunks_exact(matrix * gram.splits()).last();
        let ones =
            last_group.map(|splits| splits.chunks_exact(matrix).map(|m| f64::from(m[matrix - 1])).sum());
        let windows = 4 * gram.windows.positions();
        assert_eq!(ones, Some(windows as f64 + 0.25 * gram.splits() as f64), "{gram:?}");
    }
}

fn cpu(kernel: &dyn Kernel, inputs: &[&[f32]]) -> Vec<f32> {
    let mut output = vec![0.0; kernel.output_len()];
    kernel.cpu(inputs, &mut output);
    output
}

#[test]
fn nan_is_not_hidden() {
    let truths = |a: &Activation| {
        matches!(a, Activation::Not | Activation::Truth | Activation::IsNan | Activation::IsInf(..))
    };
    for activation in Activation::SAMPLES.into_iter().filter(|a| !truths(a)) {
        assert!(activation.apply_f32(f32::NAN).is_nan(), "{activation:?}");
        assert!(activation.apply_f64(f64::NAN).is_nan(), "{activation:?}, in f64");
    }
    for op in [BinaryOp::Max, BinaryOp::Min, BinaryOp::Add] {
        let binary = BinaryKernel::new(op, &[2], &[2], Activation::None).unwrap();
        assert!(cpu(&binary, &[&[f32::NAN, 1.0], &[1.0, f32::NAN]]).iter().all(|y| y.is_nan()), "{op:?}");
    }
    for op in ReduceOp::ALL {
        for at in 0..3 {
            let mut x = [1.0, 2.0, 3.0];
            x[at] = f32::NAN;
            assert!(cpu(&ReduceKernel { op, outer: 1, axis: 3, inner: 1 }, &[&x])[0].is_nan(), "{op:?} {at}");
        }
    }
    let stats = cpu(&ChannelStats::new(1, [1, 1, 40], None), &[&[&[1.0; 39][..], &[f32::NAN]].concat()]);
    assert!([0, 1, 2, 3, 4, 6, 7].into_iter().all(|field| stats[field].is_nan()), "{stats:?}");
    assert_eq!(stats[5], 39.0);
}

/// Winograd mixes the pixels of a tile, but non-finite results must occur exactly where the reference has them, and no
/// activation may hide them.
#[test]
fn non_finite_values_stay_where_the_definition_has_them() {
    let planes = [[15, 18], [29, 33]];
    let activations = [Activation::None, Activation::Relu, Activation::Clip(0.0, 6.0)];
    for (activation, [h, w]) in activations.into_iter().flat_map(|a| planes.map(|plane| (a, plane))) {
        let conv = ConvKernel {
            batch: 3,
            groups: 1,
            in_channels: 17,
            out_channels: 18,
            windows: Windows { kernel: [3, 3], pad: [1, 1], ..Windows::points([h, w]) },
            out_offset: 0,
            out_total: 18,
            residual: false,
            activation,
        };
        let mut inputs: Vec<Vec<f32>> = conv
            .input_lens()
            .iter()
            .map(|&len| (0..len).map(|i| (i * 7919 % 1009) as f32 / 504.5 - 1.0).collect())
            .collect();
        let image = 17 * h * w;
        inputs[0][image + 5 * w + 7] = f32::NAN;
        inputs[0][image + 11 * w] = f32::INFINITY;
        inputs[0][2 * image + (h - 1) * w + w - 1] = f32::NEG_INFINITY;
        let case = Case { label: String::new(), kernel: Arc::new(conv), inputs };
        let (expected, got) = both_versions(&case);
        assert!(expected.iter().any(|y| y.is_nan()));
        for (index, (e, g)) in expected.iter().zip(&got).enumerate() {
            let alike = e.is_nan() == g.is_nan() && (e.is_finite() || e.is_nan() || *e == f64::from(*g));
            assert!(alike, "{activation:?}, element {index}: got {g}, expected {e}");
        }
    }
}

#[test]
fn a_window_of_padding_only_is_minus_infinity() {
    let pool = PoolKernel {
        kind: PoolKind::Max,
        planes: 1,
        windows: Windows { out_hw: [1, 2], pad: [0, 1], ..Windows::points([1, 1]) },
        pad_end: [0, 0],
    };
    assert_eq!(cpu(&pool, &[&[3.0]]), [f32::NEG_INFINITY, 3.0]);
}

/// Known values, independent of the reference.
#[test]
fn activations_at_known_points() {
    use Activation::{Clip, Erf, HardSigmoid, HardSwish, LeakyRelu, Relu, Sigmoid};
    let points = [
        (Relu, -2.0, 0.0),
        (LeakyRelu(0.5), -2.0, -1.0),
        (Clip(0.0, 6.0), 7.0, 6.0),
        (Clip(3.0, 1.0), 2.0, 1.0),
        (Sigmoid, 0.0, 0.5),
        (HardSigmoid(0.2, 0.5), 1.0, 0.7),
        (HardSwish, -4.0, 0.0),
        (HardSwish, 3.0, 3.0),
        (Erf, 0.5, 0.520_499_877_813_046_5),
        (Erf, -2.0, -0.995_322_265_018_952_7),
        (Erf, 7.0, 1.0),
    ];
    for (activation, x, y) in points {
        assert!((activation.apply_f64(x) - y).abs() < 1e-8, "{activation:?}({x})");
    }
}

#[test]
fn the_exponential_is_right_to_its_edges() {
    let exp = |x: f32| Activation::Exp.apply_f32(x);
    for i in -1030..=885 {
        let x = i as f32 / 10.0;
        let (got, expected) = (f64::from(exp(x)), f64::from(x).exp());
        // Subnormal numbers have less precision.
        let tolerance = 3e-7 * expected + f64::from(f32::from_bits(1));
        assert!((got - expected).abs() <= tolerance, "{x}: {got:e}, expected {expected:e}");
    }
    assert_eq!((exp(0.0), exp(89.0), exp(f32::INFINITY)), (1.0, f32::INFINITY, f32::INFINITY));
    assert_eq!((exp(-105.0), exp(f32::NEG_INFINITY)), (0.0, 0.0));
    assert!(exp(f32::NAN).is_nan() && exp(-f32::NAN).is_nan());
}

#[test]
fn shapes_that_do_not_broadcast_are_refused() {
    let call = |a: &[usize], b: &[usize]| BinaryKernel::new(BinaryOp::Add, a, b, Activation::None);
    assert!(call(&[2, 3], &[2]).is_none());
    assert!(call(&[1, 2, 1, 2, 1, 2, 1], &[2, 1, 2, 1, 2, 1, 2]).is_none(), "seven axes");
    assert_eq!(call(&[3, 4, 5], &[3, 4, 5]).unwrap().shape, [60], "axes walked alike are joined");
}

/// Copies labels as well as numbers.
#[test]
fn a_copy_moves_any_type() {
    let copy = Copy::new(&[2, 3], 6, 2, &[3, -1], 6, 0, &[1, 2]).unwrap();
    let mut out = [0u64; 6];
    copy.apply(&[10, 11, 12, 13, 14, 15], &mut out);
    assert_eq!(out, [12, 15, 11, 14, 10, 13]);
}

#[test]
fn kernels_say_which_inputs_they_pack_and_whether_by_moving() {
    for row in KERNELS {
        for case in cases_of(row) {
            for (input, data) in case.inputs.iter().enumerate() {
                let name = format!("{}, {}, input {input}", row.name, case.label);
                assert_eq!(case.kernel.packs(input), case.kernel.pack(input, data).is_some(), "{name}");
                let table = Relayout::table(&*case.kernel, input).filter(|_| case.kernel.packs_by_moving());
                let is_place =
                    |&at: &f32| at == -1.0 || at.fract() == 0.0 && (0.0..data.len() as f32).contains(&at);
                assert!(table.is_none_or(|table| table.iter().all(is_place)), "{name}: not only moved");
            }
        }
    }
}
