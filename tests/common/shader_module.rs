//! The shader of a kernel call, parsed and validated by naga.

use naga::Module;
use naga::valid::{Capabilities, ModuleInfo, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};
use secateur::kernels::source::{ShaderTypes, shader_reads_f16};
use secateur::kernels::{Kernel, cases_of};
use secateur::tensor::Precision;

/// A call's shader, parsed and validated, with f16 storage wherever it allows it, or nowhere.
pub(crate) fn shader_module(kernel: &dyn Kernel, precision: Precision) -> (Module, ModuleInfo) {
    let (row, residual) = (kernel.row(), kernel.residual());
    let as_far = |takes: bool| if takes { precision } else { Precision::F32 };
    let input =
        |i: usize| (kernel.binding(i), as_far(shader_reads_f16(kernel, i) || row.reads_f16_weights(i)));
    let inputs = (0..kernel.input_lens().len()).map(input).collect();
    let source = ShaderTypes { output: as_far(row.writes_f16()), inputs, residual }.text(row);
    let module = naga::front::wgsl::parse_str(&source)
        .unwrap_or_else(|e| panic!("{}: {}", row.name, e.emit_to_string(&source)));
    // Only kernels that declare a subgroup size may use subgroup operations.
    let subgroups = cases_of(row).iter().all(|case| case.kernel.subgroup().is_some());
    let mut capabilities = if subgroups { Capabilities::SUBGROUP } else { Capabilities::empty() };
    capabilities.set(Capabilities::SHADER_FLOAT16, source.starts_with("enable f16;"));
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .subgroup_stages(ShaderStages::COMPUTE)
        .subgroup_operations(SubgroupOperationSet::all())
        .validate(&module)
        .unwrap_or_else(|e| panic!("{}: {}", row.name, e.emit_to_string(&source)));
    (module, info)
}
