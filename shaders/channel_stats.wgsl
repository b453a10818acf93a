// Statistics of every channel of every image; an invocation a tile of pixels, walked twice.

struct Params {
    len: u32,
    tiles: u32,
    tile: u32,
    inner: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;

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
    let start = (i % params.tiles) * params.tile;
    let first = (i / params.tiles) * params.inner + start;
    let past = first + min(params.tile, params.inner - start);
    var lowest = x[first];
    var highest = lowest;
    var sum = 0.0;
    var size = 0.0;
    var positive = 0.0;
    for (var at = first; at < past; at++) {
        let v = x[at];
        sum += v;
        size += abs(v);
        positive += select(0.0, 1.0, v > 0.0);
        lowest = select(lowest, v, v < lowest || v != v);
        highest = select(highest, v, v > highest || v != v);
    }
    let mean = sum / f32(past - first);
    var moment = 0.0;
    for (var at = first; at < past; at++) {
        let d = x[at] - mean;
        moment += d * d;
    }
    y[6u * i] = sum;
    y[6u * i + 1u] = moment;
    y[6u * i + 2u] = size;
    y[6u * i + 3u] = positive;
    y[6u * i + 4u] = lowest;
    y[6u * i + 5u] = highest;
}
