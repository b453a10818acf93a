// Elementwise functions of two arrays. The output's index is decomposed axis by axis, the last first, and recomposed
// with each input's strides, which are 0 where it is broadcast. A device that loads and stores lane by lane moves
// four elements for hardly more than one.

struct Params {
    shape: array<vec4<u32>, 2>,
    a_strides: array<vec4<i32>, 2>,
    b_strides: array<vec4<i32>, 2>,
    axes: u32,
    len: u32,
    act_a: f32,
    act_b: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<Out>>;
@group(0) @binding(2) var<storage, read> a: array<vec4<In0>>;
@group(0) @binding(3) var<storage, read> b: array<vec4<In1>>;

// Numbered as in `BinaryOp`.
override OP: u32 = 0u;
// 1 if both arrays have the output's shape and whole quads: an invocation then computes four elements.
override QUADS: u32 = 0u;

// The quotient of two integers. A driver's division may be off by some units in the last place, so the remainder
// corrects it.
fn int_div(a: f32, b: f32) -> f32 {
    let q = trunc(a / b);
    let rest = a - q * b;
    let away = sign(a) * sign(b);
    let low = select(q, q + away, abs(rest) >= abs(b));
    return select(low, q - away, rest * a < 0.0);
}

fn modulo(a: f32, b: f32) -> f32 {
    let rest = a - floor(a / b) * b;
    let low = select(rest, rest - b, abs(rest) >= abs(b));
    return select(low, rest + b, rest * b < 0.0);
}

// The power function, for negative bases too, which WGSL's `pow` does not support.
fn power(a: f32, b: f32) -> f32 {
    if b == 2.0 {
        return a * a;
    }
    if b != 0.0 && (is_nan(a) || is_nan(b)) {
        return a + b;
    }
    let size = pow(abs(a), b);
    let odd = abs(b - 2.0 * floor(b * 0.5)) == 1.0;
    let negative = select(size, -size, odd);
    // The root of a negative number is NaN, the result for a fractional exponent.
    let whole = select(sqrt(a), negative, floor(b) == b);
    return select(select(size, whole, a < 0.0), 1.0, b == 0.0);
}

fn apply(a: f32, b: f32) -> f32 {
    switch OP {
        case 1u: { return a - b; }
        case 2u: { return a * b; }
        case 3u: { return a / b; }
        case 4u: { return select(b, a, a > b || is_nan(a)); }
        case 5u: { return select(b, a, a < b || is_nan(a)); }
        case 6u: { return power(a, b); }
        case 7u: { return int_div(a, b); }
        case 8u: { return modulo(a, b); }
        case 9u: { return select(0.0, 1.0, a == b); }
        case 10u: { return select(0.0, 1.0, a < b); }
        case 11u: { return select(0.0, 1.0, a > b); }
        case 12u: { return select(0.0, 1.0, is_true(a) && is_true(b)); }
        case 13u: { return select(0.0, 1.0, is_true(a) || is_true(b)); }
        case 14u: { return select(0.0, 1.0, a <= b); }
        case 15u: { return select(0.0, 1.0, a >= b); }
        case 16u: { return select(0.0, 1.0, is_true(a) != is_true(b)); }
        case 17u: { return a - int_div(a, b) * b; }
        case 18u: { return select(a, a * b, a < 0.0); }
        default: { return a + b; }
    }
}

fn result(a: f32, b: f32) -> f32 {
    return activate(apply(a, b), params.act_a, params.act_b);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = invocation(workgroup, workgroups, local);
    if QUADS == 1u {
        if i < params.len / 4u {
            let p = vec4<f32>(a[i]);
            let q = vec4<f32>(b[i]);
            y[i] = vec4<Out>(vec4(result(p.x, q.x), result(p.y, q.y), result(p.z, q.z), result(p.w, q.w)));
        }
        return;
    }
    if i >= params.len {
        return;
    }
    var rest = i;
    var at_a = 0i;
    var at_b = 0i;
    for (var axis = params.axes; axis > 1u; axis--) {
        let slot = axis - 1u;
        let size = params.shape[slot / 4u][slot % 4u];
        let more = quotient(rest, size);
        let index = i32(rest - more * size);
        rest = more;
        at_a += index * params.a_strides[slot / 4u][slot % 4u];
        at_b += index * params.b_strides[slot / 4u][slot % 4u];
    }
    // The rest is the first axis's index.
    at_a += i32(rest) * params.a_strides[0].x;
    at_b += i32(rest) * params.b_strides[0].x;
    y[i / 4u][i % 4u] = Out(result(f32(a[at_a / 4][at_a % 4]), f32(b[at_b / 4][at_b % 4])));
}
