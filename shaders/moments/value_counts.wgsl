// Histogram of the values of a tensor, added to the output. A workgroup counts the values of a piece of one part in
// its own memory, two counts in a word, and then adds them to the output.

struct Params {
    // Number of workgroups.
    len: u32,
    // Elements of a part, which has one weight.
    elements: u32,
    // Workgroups that share a part.
    chunks: u32,
}

// Numbers as in `kernels::moments::value_bins` and `value_counts`.
const CHUNK: u32 = 8192u;
const SHIFT: u32 = 17u;
const BELOW: u32 = 6207u;
const SIDE: u32 = 3842u;
const SLOTS: u32 = 7688u;
const NORMAL: u32 = 0x00800000u;
const INFINITY: u32 = 0x7f800000u;
const SIGN: u32 = 0x80000000u;
const CARRY: f32 = 8388608.0;

// Words of the workgroup's memory behind those of the bins.
const ZEROS: u32 = SIDE;
const NAN: u32 = SIDE + 1u;
const INFINITE: u32 = SIDE + 2u;
const EXTREMES: u32 = SIDE + 3u;
const WORDS: u32 = SIDE + 7u;

@group(0) @binding(0) var<uniform> params: Params;
// Numbers of type f32, by their bits.
@group(0) @binding(1) var<storage, read_write> y: array<atomic<u32>>;
@group(0) @binding(2) var<storage, read> x: array<In0>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;

var<workgroup> counts: array<atomic<u32>, WORDS>;

// Adds a whole number to an element of the output, and returns the number of times that it reached `modulus`.
fn add_modulo(at: u32, count: f32, modulus: f32) -> f32 {
    var old = atomicLoad(&y[at]);
    loop {
        var sum = bitcast<f32>(old) + count;
        var carry = 0.0;
        if sum >= modulus {
            sum -= modulus;
            carry = 1.0;
        }
        let result = atomicCompareExchangeWeak(&y[at], old, bitcast<u32>(sum));
        if result.exchanged {
            return carry;
        }
        old = result.old_value;
    }
    return 0.0;
}

// Adds to a count of two parts.
fn add(slot: u32, count: u32) {
    if count == 0u {
        return;
    }
    let carry = add_modulo(slot, f32(count), CARRY);
    if carry > 0.0 {
        let none = add_modulo(SLOTS + slot, carry, 2.0 * CARRY);
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    for (var at = local; at < WORDS; at += 64u) {
        atomicStore(&counts[at], 0u);
    }
    workgroupBarrier();
    let index = workgroup.x + workgroup.y * workgroups.x;
    let part = index / params.chunks;
    let first = (index % params.chunks) * CHUNK;
    var past = min(first + CHUNK, params.elements);
    if index >= params.len || weights[min(part, arrayLength(&weights) - 1u)] == 0.0 {
        past = first;
    }
    var zeros = 0u;
    // Smallest magnitude, mirrored, and largest magnitude of each sign.
    var extremes = vec4<u32>(0u);
    for (var at = first + local; at < past; at += 64u) {
        let bits = bitcast<u32>(f32(x[part * params.elements + at]));
        let magnitude = bits & ~SIGN;
        let negative = bits >> 31u;
        if magnitude < NORMAL {
            zeros += 1u;
        } else if magnitude >= INFINITY {
            if magnitude > INFINITY {
                atomicAdd(&counts[NAN], 1u);
            } else {
                atomicAdd(&counts[INFINITE], 1u << (16u * negative));
            }
        } else {
            let bin = min(max(magnitude >> SHIFT, BELOW) - BELOW, SIDE - 1u);
            atomicAdd(&counts[bin], 1u << (16u * negative));
            let both = vec2<u32>(magnitude ^ ~SIGN, magnitude);
            if negative == 0u {
                extremes = max(extremes, vec4<u32>(both, 0u, 0u));
            } else {
                extremes = max(extremes, vec4<u32>(0u, 0u, both));
            }
        }
    }
    atomicAdd(&counts[ZEROS], zeros);
    for (var i = 0u; i < 4u; i++) {
        atomicMax(&counts[EXTREMES + i], extremes[i]);
    }
    workgroupBarrier();
    for (var bin = local; bin < SIDE; bin += 64u) {
        let both = atomicLoad(&counts[bin]);
        if both != 0u {
            add(bin, both & 0xffffu);
            add(SIDE + bin, both >> 16u);
        }
    }
    if local == 0u {
        add(2u * SIDE, atomicLoad(&counts[ZEROS]));
        add(2u * SIDE + 1u, atomicLoad(&counts[NAN]));
        let infinite = atomicLoad(&counts[INFINITE]);
        add(2u * SIDE + 2u, infinite & 0xffffu);
        add(2u * SIDE + 3u, infinite >> 16u);
        for (var i = 0u; i < 4u; i++) {
            // Bits of positive numbers have their order.
            atomicMax(&y[2u * SLOTS + i], atomicLoad(&counts[EXTREMES + i]));
        }
    }
}
