// Winograd's batched GEMM: 36 matrix products, weights by tiles, for software adapters with subgroups of 8 lanes. A
// lane holds 4 columns, a subgroup a block of 32 columns × 16 channels. Operands are textures, which such an adapter
// reads faster than storage; each weight is fetched by one lane and broadcast to the others.

struct Params {
    // Number of subgroups: channel tiles, then blocks of 32 columns, then products.
    len: u32,
    blocks: u32,
    channel_tiles: u32,
    depth: u32,
    channels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(2) var x: texture_storage_2d<rgba32float, read>;
// In the layout of `WinogradGemm::pack`.
@group(0) @binding(3) var weights: texture_storage_2d<rgba32float, read>;

fn store_four(at: u32, room: u32, sums: mat4x4<f32>) {
    if room > 0u {
        y[at] = sums[0];
    }
    if room > 1u {
        y[at + 8u] = sums[1];
    }
    if room > 2u {
        y[at + 16u] = sums[2];
    }
    if room > 3u {
        y[at + 24u] = sums[3];
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    // No early return: all lanes take part in broadcasts. Surplus subgroups repeat the last unit.
    let unit = min(invocation(workgroup, workgroups, local) / 8u, params.len - 1u);
    let factor = quotient(unit, params.channel_tiles);
    let tile = unit - factor * params.channel_tiles;
    let block = factor / 36u;
    let product = factor - block * 36u;
    let rows = factor;
    let nothing = nowhere(textureDimensions(x));
    var at = rows * (params.depth + 1u) * 8u + lane;
    var w = (product * params.channel_tiles + tile) * ((params.depth + 3u) / 4u) * 16u + lane;

    var sums = Sums();
    for (var c = 0u; c < params.depth; c += 4u) {
        // Weights of 4 rows × 16 channels, those of a row in 4 lanes.
        let w0 = textureLoad(weights, place(w));
        let w1 = textureLoad(weights, place(w + 8u));
        w += 16u;
        let x0 = textureLoad(x, place(at));
        let x1 = textureLoad(x, place(select(nothing, at + 8u, c + 1u < params.depth)));
        let x2 = textureLoad(x, place(select(nothing, at + 16u, c + 2u < params.depth)));
        let x3 = textureLoad(x, place(select(nothing, at + 24u, c + 3u < params.depth)));
        at += 32u;
        add_products(&sums, mat4x4(x0, x1, x2, x3), w0, w1);
    }
    let first = tile * 16u;
    let room = params.channels - first;
    let target_at = (rows * (params.channels + 1u) + first) * 8u + lane;
    store_four(target_at, room, sums.a);
    store_four(target_at + 32u, max(room, 4u) - 4u, sums.b);
    store_four(target_at + 64u, max(room, 8u) - 8u, sums.c);
    store_four(target_at + 96u, max(room, 12u) - 12u, sums.d);
}
