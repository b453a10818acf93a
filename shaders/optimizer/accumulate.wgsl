// The weighted sum of gradients over the runs of a step. An invocation computes one element.

struct Params {
    len: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> sum: array<f32>;
@group(0) @binding(2) var<storage, read> gradient: array<f32>;
// Element 5 is the share of the run, element 6 is 0 in the first run of a step.
@group(0) @binding(3) var<storage, read> settings: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = invocation(workgroup, workgroups, local);
    if i >= params.len {
        return;
    }
    let part = settings[5] * gradient[i];
    // Sums of an earlier step may be infinite.
    if settings[6] > 0.0 {
        sum[i] += part;
    } else {
        sum[i] = part;
    }
}
