//! Translates every shader for Metal and DX12, as wgpu does on macOS and Windows.
//!
//! Every case of every kernel is translated, in both precisions, with the overrides of its launch.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use naga::back::pipeline_constants::process_overrides;
use naga::back::{hlsl, msl};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::ModuleInfo;
use naga::{Module, ShaderStage};
use secateur::kernels::{KERNELS, Kernel, cases_of};
use secateur::tensor::Precision;

#[path = "common/shader_module.rs"]
mod shader_module;

use shader_module::shader_module;

const MAIN: (ShaderStage, &str) = (ShaderStage::Compute, "main");

/// The Metal shader. wgpu checks bounds of all resources on Metal.
fn metal(module: &Module, info: &ModuleInfo) -> Result<String, String> {
    let policy = BoundsCheckPolicy::ReadZeroSkipWrite;
    let options = msl::Options {
        lang_version: (2, 4),
        fake_missing_bindings: true,
        bounds_check_policies: BoundsCheckPolicies {
            index: policy,
            buffer: policy,
            image_load: policy,
            binding_array: BoundsCheckPolicy::Unchecked,
        },
        ..msl::Options::default()
    };
    let entry = msl::PipelineOptions { entry_point: Some((MAIN.0, MAIN.1.into())), ..Default::default() };
    let (text, info) = msl::write_string(module, info, &options, &entry).map_err(|e| e.to_string())?;
    info.entry_point_names.into_iter().collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
    Ok(text)
}

/// The DX12 shader. Model 6.2 is the first one with 16-bit floats.
fn direct3d(module: &Module, info: &ModuleInfo) -> Result<String, String> {
    let options = hlsl::Options {
        shader_model: hlsl::ShaderModel::V6_2,
        fake_missing_bindings: true,
        ..hlsl::Options::default()
    };
    let entry = hlsl::PipelineOptions { entry_point: Some((MAIN.0, MAIN.1.into())) };
    let mut text = String::new();
    let written = hlsl::Writer::new(&mut text, &options, &entry).write(module, info, None);
    let names = written.map_err(|e| e.to_string())?.entry_point_names;
    names.into_iter().collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
    Ok(text)
}

/// Translates a call's shader for both; returns an error for each that fails, or panics.
fn failures(kernel: &dyn Kernel, precision: Precision) -> Vec<String> {
    let (module, info) = shader_module(kernel, precision);
    let constants = kernel.dispatch().overrides.into_iter();
    let constants = constants.map(|(name, value)| (name.to_owned(), value)).collect();
    let (module, info) = match process_overrides(&module, &info, Some(MAIN), &constants) {
        Ok(processed) => processed,
        Err(error) => return vec![format!("overrides: {error}")],
    };
    let translations: [(&str, fn(&Module, &ModuleInfo) -> Result<String, String>); 2] =
        [("Metal", metal), ("DX12", direct3d)];
    let translate = |(name, translate): (&str, fn(&Module, &ModuleInfo) -> Result<String, String>)| {
        let result = catch_unwind(AssertUnwindSafe(|| translate(&module, &info)));
        let error = match result {
            Ok(Ok(text)) => (!text.contains("main")).then(|| "no entry point".to_owned()),
            Ok(Err(error)) => Some(error),
            Err(_) => Some("naga panics".to_owned()),
        };
        error.map(|error| format!("{name}: {error}"))
    };
    translations.into_iter().filter_map(translate).collect()
}

#[test]
fn every_shader_translates_for_metal_and_dx12() {
    let (mut failed, mut variants) = (BTreeSet::new(), BTreeSet::new());
    for row in KERNELS {
        for case in cases_of(row) {
            for precision in [Precision::F32, Precision::F16] {
                let kernel = &*case.kernel;
                let bindings: Vec<_> = (0..kernel.input_lens().len()).map(|i| kernel.binding(i)).collect();
                let overrides = kernel.dispatch().overrides;
                let variant = format!(
                    "{} {} {bindings:?} {overrides:?} {:?}",
                    row.name,
                    precision.name(),
                    kernel.residual()
                );
                if !variants.insert(variant) {
                    continue;
                }
                for failure in failures(kernel, precision) {
                    failed.insert(format!("{}, {}: {failure}", row.name, precision.name()));
                }
            }
        }
    }
    assert!(variants.len() > 2 * KERNELS.len(), "only {} variants were translated", variants.len());
    assert!(failed.is_empty(), "{failed:#?}");
    println!("{} variants of {} shaders", variants.len(), KERNELS.len());
}
