// GEMM with few rows and a constant matrix, for software adapters with subgroups of 8 lanes.
// A subgroup computes 32 columns of 4 rows. There are many weights and few rows, so each lane has its own weights and the rows are
// broadcast.

struct Params {
    // Number of subgroups: row tiles, then column tiles.
    len: u32,
    rows: u32,
    row_tiles: u32,
    depth: u32,
    columns: u32,
    out_offset: u32,
    out_total: u32,
    act_a: f32,
    act_b: f32,
    unused: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<Out>;
// In the layout of `Gemv::pack`.
@group(0) @binding(3) var weights: Weights;
@group(0) @binding(4) var<storage, read> bias: array<vec4<f32>>;

// This lane's four of 32 elements of a row; zeros after the end.
fn piece(row: u32, k: vec4<u32>) -> vec4<f32> {
    let real = k < vec4(params.depth) & vec4(row < params.rows);
    let at = select(vec4(nowhere(textureDimensions(x))), row * params.depth + k, real);
    return singles(at);
}

// Weights of 4 elements of a row (columns of the matrix) for this lane's 4 channels.
fn four(at: u32) -> mat4x4<f32> {
    return mat4x4(
        textureLoad(weights, place(at)),
        textureLoad(weights, place(at + 8u)),
        textureLoad(weights, place(at + 16u)),
        textureLoad(weights, place(at + 24u)),
    );
}

fn store(row: u32, column: u32, sums: vec4<f32>) {
    if row < params.rows {
        for (var c = 0u; c < 4u; c++) {
            if column + c < params.columns {
                let at = row * params.out_total + params.out_offset + column + c;
                y[at] = Out(activate(with_residual(sums[c], at), params.act_a, params.act_b));
            }
        }
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    // No early return: all lanes take part in broadcasts.
    let unit = min(invocation(workgroup, workgroups, local) / 8u, params.len - 1u);
    let row = unit % params.row_tiles * 4u;
    let tile = unit / params.row_tiles;
    let steps = (params.depth + 31u) / 32u;
    var w = tile * steps * 256u + lane;
    // Columns are rows of the product, rows are this lane's channels.
    var sums = mat4x4<f32>();
    for (var step = 0u; step < steps; step++) {
        let k = step * 32u + lane * 4u + vec4(0u, 1u, 2u, 3u);
        let x0 = piece(row, k);
        let x1 = piece(row + 1u, k);
        let x2 = piece(row + 2u, k);
        let x3 = piece(row + 3u, k);
        sums += four(w) * mat4x4(
            subgroupBroadcast(x0, 0u), subgroupBroadcast(x1, 0u), subgroupBroadcast(x2, 0u), subgroupBroadcast(x3, 0u));
        sums += four(w + 32u) * mat4x4(
            subgroupBroadcast(x0, 1u), subgroupBroadcast(x1, 1u), subgroupBroadcast(x2, 1u), subgroupBroadcast(x3, 1u));
        sums += four(w + 64u) * mat4x4(
            subgroupBroadcast(x0, 2u), subgroupBroadcast(x1, 2u), subgroupBroadcast(x2, 2u), subgroupBroadcast(x3, 2u));
        sums += four(w + 96u) * mat4x4(
            subgroupBroadcast(x0, 3u), subgroupBroadcast(x1, 3u), subgroupBroadcast(x2, 3u), subgroupBroadcast(x3, 3u));
        sums += four(w + 128u) * mat4x4(
            subgroupBroadcast(x0, 4u), subgroupBroadcast(x1, 4u), subgroupBroadcast(x2, 4u), subgroupBroadcast(x3, 4u));
        sums += four(w + 160u) * mat4x4(
            subgroupBroadcast(x0, 5u), subgroupBroadcast(x1, 5u), subgroupBroadcast(x2, 5u), subgroupBroadcast(x3, 5u));
        sums += four(w + 192u) * mat4x4(
            subgroupBroadcast(x0, 6u), subgroupBroadcast(x1, 6u), subgroupBroadcast(x2, 6u), subgroupBroadcast(x3, 6u));
        sums += four(w + 224u) * mat4x4(
            subgroupBroadcast(x0, 7u), subgroupBroadcast(x1, 7u), subgroupBroadcast(x2, 7u), subgroupBroadcast(x3, 7u));
        w += 256u;
    }
    let column = tile * 32u + lane * 4u;
    let b = bias[tile * 8u + lane];
    store(row, column, sums[0] + b);
    store(row + 1u, column, sums[1] + b);
    store(row + 2u, column, sums[2] + b);
    store(row + 3u, column, sums[3] + b);
}
