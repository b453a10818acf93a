// Statistics of every channel of every image, before and after an activation. An invocation processes a tile of
// positions, in two passes for each side.

struct Params {
    len: u32,
    tiles: u32,
    tile: u32,
    // Positions of a channel of an image.
    positions: u32,
    channels: u32,
    // Number of adjacent positions.
    inner: u32,
    // 2 with an activation, else 1.
    sides: u32,
    act_a: f32,
    act_b: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<In0>;

// The element at a position of the channel whose first element is at `base`.
fn element(base: u32, position: u32, side: u32) -> f32 {
    let row = position / params.inner;
    let at = base + row * params.channels * params.inner + position - row * params.inner;
    let v = f32(x[at]);
    if side == 0u {
        return v;
    }
    return activate(v, params.act_a, params.act_b);
}

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
    let plane = i / params.tiles;
    let image = plane / params.channels;
    let base = (image * params.positions * params.channels) + (plane % params.channels) * params.inner;
    let first = (i % params.tiles) * params.tile;
    let past = min(first + params.tile, params.positions);
    for (var side = 0u; side < params.sides; side++) {
        var lowest = element(base, first, side);
        var highest = lowest;
        var sum = 0.0;
        var size = 0.0;
        var positive = 0.0;
        for (var at = first; at < past; at++) {
            let v = element(base, at, side);
            sum += v;
            size += abs(v);
            positive += select(0.0, 1.0, v > 0.0);
            lowest = select(lowest, v, v < lowest || is_nan(v));
            highest = select(highest, v, v > highest || is_nan(v));
        }
        let mean = sum / f32(past - first);
        var second = 0.0;
        var third = 0.0;
        var fourth = 0.0;
        for (var at = first; at < past; at++) {
            let d = element(base, at, side) - mean;
            let square = d * d;
            second += square;
            third += square * d;
            fourth += square * square;
        }
        let to = 8u * (i * params.sides + side);
        y[to] = sum;
        y[to + 1u] = second;
        y[to + 2u] = third;
        y[to + 3u] = fourth;
        y[to + 4u] = size;
        y[to + 5u] = positive;
        y[to + 6u] = lowest;
        y[to + 7u] = highest;
    }
}
