// Indices of the maxima of windows. An invocation computes one.

struct Params {
    len: u32,
    // Windows on a plane.
    positions: u32,
    unused: vec2<u32>,
    windows: Volumes,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<In0>;

override COLUMN_MAJOR: bool = false;

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
    let size = params.windows.input;
    let kernel = params.windows.kernel;
    let base = i / params.positions * size.x * size.y * size.z;
    let first = origin(params.windows, i % params.positions);
    var found = false;
    var highest = 0.0;
    var place = vec3(0u);
    for (var tap = 0u; tap < kernel.x * kernel.y * kernel.z; tap++) {
        let row = tap / kernel.z;
        let step = vec3(row / kernel.y, row % kernel.y, tap % kernel.z) * params.windows.dilation.xyz;
        let coordinates = first + vec3<i32>(step);
        let at = element(params.windows, coordinates);
        if at >= 0 {
            let v = f32(x[base + u32(at)]);
            if !found || v > highest || is_nan(v) {
                found = true;
                highest = v;
                place = vec3<u32>(coordinates);
            }
        }
    }
    let rows_first = (place.x * size.y + place.y) * size.z + place.z;
    let columns_first = place.x + (place.y + place.z * size.y) * size.x;
    let index = base + select(rows_first, columns_first, COLUMN_MAJOR);
    y[i] = select(-1.0, f32(index), found);
}
