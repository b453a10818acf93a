// Products of computed matrices. An invocation computes 4 rows × 4 columns in registers. Its columns are a stride
// apart, so that adjacent invocations read adjacent elements.

struct Params {
    len: u32,
    m: u32,
    k: u32,
    n: u32,
    a_step: u32,
    b_step: u32,
    row_tiles: u32,
    column_tiles: u32,
    act_a: f32,
    act_b: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<Out>;
@group(0) @binding(2) var<storage, read> a: array<In0>;
@group(0) @binding(3) var<storage, read> b: array<In1>;

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
    let column_tile = i % params.column_tiles;
    let row_tile = (i / params.column_tiles) % params.row_tiles;
    let matrix = i / params.column_tiles / params.row_tiles;
    let rows = row_tile * 4u + vec4(0u, 1u, 2u, 3u);
    let columns = column_tile + vec4(0u, 1u, 2u, 3u) * params.column_tiles;
    // Rows and columns outside read the last one, and are not written.
    var at_a = matrix * params.a_step + min(rows, vec4(params.m - 1u)) * params.k;
    var at_b = matrix * params.b_step + min(columns, vec4(params.n - 1u));
    var sums = array<vec4<f32>, 4>();
    for (var k = 0u; k < params.k; k++) {
        let right = vec4<f32>(vec4(b[at_b.x], b[at_b.y], b[at_b.z], b[at_b.w]));
        sums[0] += f32(a[at_a.x]) * right;
        sums[1] += f32(a[at_a.y]) * right;
        sums[2] += f32(a[at_a.z]) * right;
        sums[3] += f32(a[at_a.w]) * right;
        at_a += vec4(1u);
        at_b += vec4(params.n);
    }
    let base = matrix * params.m * params.n;
    for (var r = 0u; r < 4u; r++) {
        for (var c = 0u; c < 4u; c++) {
            if rows[r] < params.m && columns[c] < params.n {
                y[base + rows[r] * params.n + columns[c]] = Out(activate(sums[r][c], params.act_a, params.act_b));
            }
        }
    }
}
