// The multiplication of each filter, and of its moving average, by a factor. An invocation multiplies one element.

struct Params {
    elements: u32,
    outer: u32,
    filters: u32,
    inner: u32,
    offset: u32,
    // The first element of the moving average.
    average: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> state: array<f32>;
@group(0) @binding(2) var<storage, read> factors: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = invocation(workgroup, workgroups, local);
    if i >= params.elements {
        return;
    }
    let run = quotient(i, params.inner);
    let group = quotient(run, params.outer * params.filters);
    let filter_index = run - quotient(run, params.filters) * params.filters;
    let factor = factors[params.offset + group * params.filters + filter_index];
    state[i] *= factor;
    state[params.average + i] *= factor;
}
