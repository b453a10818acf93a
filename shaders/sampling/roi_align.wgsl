// Regions of images, resampled to one size. An invocation computes an output element.

struct Params {
    len: u32,
    channels: u32,
    input: vec2<u32>,
    output: vec2<u32>,
    // Number of images.
    batch: f32,
    scale: f32,
    // Samples of a bin along each axis; 0 for the bin's size, rounded up.
    samples: u32,
    // NaN, for which WGSL has no literal.
    missing: f32,
    unused: vec2<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<Out>;
@group(0) @binding(2) var<storage, read> x: array<In0>;
@group(0) @binding(3) var<storage, read> regions: array<f32>;
@group(0) @binding(4) var<storage, read> images: array<f32>;

override HALF_PIXEL: bool = true;
override MAX: bool = false;

struct Bins {
    start: f32,
    bin: f32,
    samples: u32,
}

fn bins(start: f32, end: f32, count: u32) -> Bins {
    let offset = select(0.0, 0.5, HALF_PIXEL);
    let first = start * params.scale - offset;
    var size = end * params.scale - offset - first;
    if !HALF_PIXEL && size < 1.0 {
        size = 1.0;
    }
    let bin = size / f32(count);
    return Bins(first, bin, select(u32(max(ceil(bin), 0.0)), params.samples, params.samples > 0u));
}

// The elements before and after a coordinate.
struct Between {
    inside: bool,
    low: u32,
    high: u32,
    part: f32,
}

fn between(bins: Bins, bin: u32, sample: u32, size: u32) -> Between {
    let at = bins.start + f32(bin) * bins.bin + (f32(sample) + 0.5) * bins.bin / f32(bins.samples);
    if !(at >= -1.0 && at <= f32(size)) {
        return Between(false, 0u, 0u, 0.0);
    }
    let from_zero = max(at, 0.0);
    let low = u32(from_zero);
    if low >= size - 1u {
        return Between(true, size - 1u, size - 1u, 0.0);
    }
    return Between(true, low, low + 1u, from_zero - f32(low));
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
    let pixels = params.output.x * params.output.y;
    let bin = i % pixels;
    let plane = i / pixels;
    let region = plane / params.channels;
    let image = images[region];
    if !(image >= 0.0 && image < params.batch) {
        y[i] = Out(params.missing);
        return;
    }
    let across = bins(regions[region * 4u], regions[region * 4u + 2u], params.output.y);
    let down = bins(regions[region * 4u + 1u], regions[region * 4u + 3u], params.output.x);
    let base = (u32(image) * params.channels + plane % params.channels) * params.input.x * params.input.y;
    var sum = 0.0;
    var most = 0.0;
    var found = false;
    for (var row = 0u; row < down.samples; row++) {
        let rows = between(down, bin / params.output.y, row, params.input.x);
        for (var column = 0u; column < across.samples; column++) {
            let columns = between(across, bin % params.output.y, column, params.input.y);
            var parts = vec4(0.0);
            if rows.inside && columns.inside {
                let top = base + rows.low * params.input.y;
                let bottom = base + rows.high * params.input.y;
                parts = vec4(
                    (1.0 - rows.part) * (1.0 - columns.part) * f32(x[top + columns.low]),
                    (1.0 - rows.part) * columns.part * f32(x[top + columns.high]),
                    rows.part * (1.0 - columns.part) * f32(x[bottom + columns.low]),
                    rows.part * columns.part * f32(x[bottom + columns.high]),
                );
            }
            sum += parts.x + parts.y + parts.z + parts.w;
            for (var p = 0u; p < 4u; p++) {
                if !found || parts[p] > most || is_nan(parts[p]) {
                    most = parts[p];
                    found = true;
                }
            }
        }
    }
    let mean = sum / f32(max(down.samples * across.samples, 1u));
    y[i] = Out(select(mean, most, MAX));
}
