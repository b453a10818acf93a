// Normalizes rows to mean 0 and variance 1, a workgroup for each row. The variance is taken about the mean in a
// second pass: subtracting the squared sum from the sum of squares would lose all digits if the mean is large.

struct Params {
    rows: u32,
    len: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<Out>;
@group(0) @binding(2) var<storage, read> x: array<In0>;

override CENTRED: bool = true;

var<workgroup> parts: array<f32, 64>;

// The sum of all invocations' parts, returned to each of them.
fn total(part: f32, local: u32) -> f32 {
    parts[local] = part;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if local < half {
            parts[local] += parts[local + half];
        }
        workgroupBarrier();
    }
    let sum = parts[0];
    // The next sum must not overwrite a part before it is read.
    workgroupBarrier();
    return sum;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = workgroup.x + workgroup.y * workgroups.x;
    // Uniform over the workgroup, so that all invocations reach every barrier or none does.
    if row >= params.rows {
        return;
    }
    let first = row * params.len;
    var mean = 0.0;
    if CENTRED {
        var sum = 0.0;
        for (var i = local; i < params.len; i += 64u) {
            sum += f32(x[first + i]);
        }
        mean = total(sum, local) / f32(params.len);
    }
    var squares = 0.0;
    for (var i = local; i < params.len; i += 64u) {
        let d = f32(x[first + i]) - mean;
        squares += d * d;
    }
    let scale = 1.0 / sqrt(total(squares, local) / f32(params.len) + params.epsilon);
    for (var i = local; i < params.len; i += 64u) {
        y[first + i] = Out((f32(x[first + i]) - mean) * scale);
    }
}
