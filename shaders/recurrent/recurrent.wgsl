// The time steps of RNN, GRU and LSTM, a workgroup for each sequence and direction. An invocation computes every 64th
// hidden unit. States pass from step to step through the output, so that any number of units fits: first the hidden
// states of all steps, then the final states, which hold the current ones until the end.

struct Params {
    // Parameters of the functions of gates, candidate and cell state: the activation's two, then the factors of
    // argument and value.
    f: vec4<f32>,
    g: vec4<f32>,
    h: vec4<f32>,
    // Terms added to the functions' values, and the bound of their arguments.
    shifts: vec4<f32>,
    steps: u32,
    batch: u32,
    hidden: u32,
    directions: u32,
    first: u32,
    count: u32,
    // Positions of the final hidden states and of the second states.
    state: u32,
    second: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<In0>;
// Weights as [directions][hidden][gates][hidden].
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read> constants: array<f32>;
@group(0) @binding(5) var<storage, read> initial_h: array<f32>;
@group(0) @binding(6) var<storage, read> initial_c: array<f32>;
@group(0) @binding(7) var<storage, read> lengths: array<f32>;

// 0: RNN, 1: GRU, 2: GRU with the product before the reset, 3: LSTM.
override CELL: u32 = 0u;
override ACT_G: u32 = 0u;
override ACT_H: u32 = 0u;
override CLIP: bool = false;
override INPUT_FORGET: bool = false;
override PEEPHOLES: bool = false;
override REVERSE: bool = false;
override BATCH_FIRST: bool = false;

// Positions of the workgroup's data.
struct Place {
    input: u32,
    output: u32,
    state: u32,
    second: u32,
    weights: u32,
    constants: u32,
}

fn bounded(x: f32) -> f32 {
    if CLIP {
        return clip(x, -params.shifts.w, params.shifts.w);
    }
    return x;
}

fn gate(x: f32) -> f32 {
    let p = params.f;
    return p.w * activate(p.z * bounded(x), p.x, p.y) + params.shifts.x;
}

fn candidate(x: f32) -> f32 {
    let p = params.g;
    return p.w * activation(ACT_G, p.z * bounded(x), p.x, p.y) + params.shifts.y;
}

fn of_cell(x: f32) -> f32 {
    let p = params.h;
    return p.w * activation(ACT_H, p.z * x, p.x, p.y) + params.shifts.z;
}

fn rnn(place: Place, unit: u32) {
    var sum = f32(x[place.input + unit]);
    var at = place.weights + unit;
    for (var k = 0u; k < params.hidden; k++) {
        sum += weights[at] * y[place.state + k];
        at += params.hidden;
    }
    y[place.output + unit] = gate(sum);
}

// Update and reset gate; with the product before the reset also the new state.
fn gru(place: Place, unit: u32) {
    let h = params.hidden;
    let input = place.input + unit;
    var sums = vec3(f32(x[input]), f32(x[input + h]), 0.0);
    var at = place.weights + unit;
    for (var k = 0u; k < h; k++) {
        let state = y[place.state + k];
        if CELL == 2u {
            sums += state * vec3(weights[at], weights[at + h], weights[at + 2u * h]);
        } else {
            sums += state * vec3(weights[at], weights[at + h], 0.0);
        }
        at += 3u * h;
    }
    let update = gate(sums.x);
    let reset = gate(sums.y);
    let state = y[place.state + unit];
    if CELL == 2u {
        let bias = constants[place.constants + 3u * h + unit];
        let next = candidate(f32(x[input + 2u * h]) + reset * (sums.z + bias));
        y[place.output + unit] = (1.0 - update) * next + update * state;
    } else {
        y[place.output + unit] = update;
        y[place.second + unit] = reset * state;
    }
}

// The new state, from the reset state and the update gate in the output.
fn reset_gru(place: Place, unit: u32) {
    let h = params.hidden;
    var sum = f32(x[place.input + 2u * h + unit]);
    var at = place.weights + 2u * h + unit;
    for (var k = 0u; k < h; k++) {
        sum += weights[at] * y[place.second + k];
        at += 3u * h;
    }
    let update = y[place.output + unit];
    y[place.output + unit] = (1.0 - update) * candidate(sum) + update * y[place.state + unit];
}

fn lstm(place: Place, unit: u32) {
    let h = params.hidden;
    let input = place.input + unit;
    var sums = vec4(f32(x[input]), f32(x[input + h]), f32(x[input + 2u * h]), f32(x[input + 3u * h]));
    var at = place.weights + unit;
    for (var k = 0u; k < h; k++) {
        let four = vec4(weights[at], weights[at + h], weights[at + 2u * h], weights[at + 3u * h]);
        sums += y[place.state + k] * four;
        at += 4u * h;
    }
    let before = y[place.second + unit];
    let peephole = place.constants + unit;
    if PEEPHOLES {
        sums.x += constants[peephole] * before;
        sums.z += constants[peephole + 2u * h] * before;
    }
    let opened = gate(sums.x);
    var kept = 1.0 - opened;
    if !INPUT_FORGET {
        kept = gate(sums.z);
    }
    let cell = kept * before + opened * candidate(sums.w);
    if PEEPHOLES {
        sums.y += constants[peephole + h] * cell;
    }
    y[place.second + unit] = cell;
    y[place.output + unit] = gate(sums.y) * of_cell(cell);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = workgroup.x + workgroup.y * workgroups.x;
    // Uniform over the workgroup, so that all invocations reach every barrier or none does.
    if row >= params.batch * params.count {
        return;
    }
    let h = params.hidden;
    let gates = select(select(1u, 3u, CELL > 0u), 4u, CELL == 3u);
    let sequence = row % params.batch;
    let direction = params.first + row / params.batch;
    let backward = REVERSE || (params.directions == 2u && direction == 1u);
    let length = u32(clamp(lengths[sequence], 0.0, f32(params.steps)));
    var state = (direction * params.batch + sequence) * h;
    if BATCH_FIRST {
        state = (sequence * params.directions + direction) * h;
    }
    var place: Place;
    place.state = params.state + state;
    place.second = params.second + state;
    place.weights = direction * gates * h * h;
    place.constants = direction * 4u * h;
    for (var unit = local; unit < h; unit += 64u) {
        y[place.state + unit] = select(0.0, initial_h[state + unit], length > 0u);
        if CELL == 3u {
            y[place.second + unit] = select(0.0, initial_c[state + unit], length > 0u);
        }
        if CELL == 1u {
            y[place.second + unit] = 0.0;
        }
    }
    storageBarrier();
    for (var index = 0u; index < params.steps; index++) {
        let runs = index < length;
        let step = select(index, length - 1u - index, backward && runs);
        var input = (step * params.batch + sequence) * params.directions + direction;
        var output = (step * params.directions + direction) * params.batch + sequence;
        if BATCH_FIRST {
            input = (sequence * params.steps + step) * params.directions + direction;
            output = input;
        }
        place.input = input * gates * h;
        place.output = output * h;
        if runs {
            for (var unit = local; unit < h; unit += 64u) {
                switch CELL {
                    case 0u: { rnn(place, unit); }
                    case 3u: { lstm(place, unit); }
                    default: { gru(place, unit); }
                }
            }
        }
        storageBarrier();
        if CELL == 1u {
            if runs {
                for (var unit = local; unit < h; unit += 64u) {
                    reset_gru(place, unit);
                }
            }
            storageBarrier();
        }
        for (var unit = local; unit < h; unit += 64u) {
            if runs {
                y[place.state + unit] = y[place.output + unit];
            } else {
                y[place.output + unit] = 0.0;
            }
        }
        storageBarrier();
    }
}
