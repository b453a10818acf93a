// An output that is written four elements at a time if quads are whole, else one by one.
// A software adapter stores four for hardly more than one. The code is unrolled, because a computed index sends a vector through memory.

// 1 if four elements that are written together always form a quad.
override QUADS: u32 = 0u;

fn activated(v: vec4<f32>) -> vec4<f32> {
    return vec4(
        activate(v.x, params.act_a, params.act_b),
        activate(v.y, params.act_a, params.act_b),
        activate(v.z, params.act_a, params.act_b),
        activate(v.w, params.act_a, params.act_b),
    );
}

fn put(at: u32, value: f32, real: bool) {
    if real {
        y[at / 4u][at % 4u] = Out(activate(with_residual(value, at), params.act_a, params.act_b));
    }
}

// Stores four values where `real` is true.
fn store_four(at: vec4<u32>, real: vec4<bool>, values: vec4<f32>) {
    if QUADS == 1u {
        if real.x {
            y[at.x / 4u] = vec4<Out>(activated(with_residuals(values, at.x)));
        }
    } else {
        put(at.x, values.x, real.x);
        put(at.y, values.y, real.y);
        put(at.z, values.z, real.z);
        put(at.w, values.w, real.w);
    }
}

// Stores up to `room` values in a row.
fn store_run(at: u32, room: u32, values: vec4<f32>) {
    let number = vec4(0u, 1u, 2u, 3u);
    store_four(at + number, number < vec4(room), values);
}
