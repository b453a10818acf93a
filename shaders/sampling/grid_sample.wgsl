// Images sampled at the positions of a grid. An invocation computes an output element. Coordinates stay floats until
// they are known to be inside, because integers cannot represent positions far outside.

struct Params {
    len: u32,
    channels: u32,
    positions: u32,
    // Coordinates of a position.
    dims: u32,
    input: vec3<u32>,
    // NaN, for which WGSL has no literal.
    missing: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<Out>;
@group(0) @binding(2) var<storage, read> x: array<In0>;
@group(0) @binding(3) var<storage, read> grid: array<f32>;

// Taps along an axis: 1 for nearest, 2 for linear, 4 for cubic.
override TAPS: u32 = 2u;
// 0: zeros, 1: border, 2: reflection.
override PADDING: u32 = 0u;
override ALIGN_CORNERS: bool = false;

// The taps along one axis: places, which are negative for a zero, and weights.
struct Taps {
    places: vec4<f32>,
    weights: vec4<f32>,
}

fn reflected(at: f32, size: f32) -> f32 {
    let low = select(-0.5, 0.0, ALIGN_CORNERS);
    let high = select(size - 0.5, size - 1.0, ALIGN_CORNERS);
    let span = high - low;
    if span <= 0.0 {
        return 0.0;
    }
    let beyond = select(at - high, low - at, at < low);
    if beyond <= 0.0 {
        return at;
    }
    let turns = floor(beyond / span);
    let rest = beyond - turns * span;
    let even = turns - 2.0 * floor(turns * 0.5) == 0.0;
    return select(high - rest, low + rest, even == (at < low));
}

fn place(at: f32, size: f32) -> f32 {
    if PADDING == 1u {
        return clamp(at, 0.0, size - 1.0);
    }
    if PADDING == 2u {
        return trunc(clamp(reflected(at, size), 0.0, size - 1.0));
    }
    return select(-1.0, at, at >= 0.0 && at < size);
}

fn near(d: f32) -> f32 {
    return (1.25 * d - 2.25) * d * d + 1.0;
}

fn far(d: f32) -> f32 {
    return ((-0.75 * d + 3.75) * d - 6.0) * d + 3.0;
}

fn along(coordinate: f32, length: u32) -> Taps {
    let size = f32(length);
    var at = ((coordinate + 1.0) * size - 1.0) / 2.0;
    if ALIGN_CORNERS {
        at = (coordinate + 1.0) / 2.0 * (size - 1.0);
    }
    if TAPS == 1u {
        at = round(at);
    }
    if PADDING == 2u {
        at = reflected(at, size);
    }
    let first = floor(at);
    let part = at - first;
    if TAPS == 1u {
        return Taps(vec4(place(first, size)), vec4(1.0, 0.0, 0.0, 0.0));
    }
    if TAPS == 2u {
        return Taps(
            vec4(place(first, size), place(first + 1.0, size), 0.0, 0.0),
            vec4(1.0 - part, part, 0.0, 0.0),
        );
    }
    return Taps(
        vec4(place(first - 1.0, size), place(first, size), place(first + 1.0, size), place(first + 2.0, size)),
        vec4(far(part + 1.0), near(part), near(1.0 - part), far(2.0 - part)),
    );
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
    let plane = i / params.positions;
    let at = (plane / params.channels * params.positions + i % params.positions) * params.dims;
    let column = grid[at];
    let row = grid[at + 1u];
    var layer = 0.0;
    if params.dims == 3u {
        layer = grid[at + 2u];
    }
    if is_nan(column) || is_nan(row) || is_nan(layer) {
        y[i] = Out(params.missing);
        return;
    }
    var deep = Taps(vec4(0.0), vec4(1.0, 0.0, 0.0, 0.0));
    var layers = 1u;
    if params.dims == 3u {
        deep = along(layer, params.input.x);
        layers = TAPS;
    }
    let down = along(row, params.input.y);
    let across = along(column, params.input.z);
    let base = plane * params.input.x * params.input.y * params.input.z;
    var sum = 0.0;
    for (var d = 0u; d < layers; d++) {
        for (var h = 0u; h < TAPS; h++) {
            for (var w = 0u; w < TAPS; w++) {
                let places = vec3(deep.places[d], down.places[h], across.places[w]);
                if all(places >= vec3(0.0)) {
                    let whole = vec3<u32>(places);
                    let value = f32(x[base + (whole.x * params.input.y + whole.y) * params.input.z + whole.z]);
                    sum += deep.weights[d] * down.weights[h] * across.weights[w] * value;
                }
            }
        }
    }
    y[i] = Out(sum);
}
