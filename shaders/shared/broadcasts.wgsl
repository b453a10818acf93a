// Products of four rows × 16 channels, for subgroups of 8 lanes.
// Each lane has its own elements of the rows, and the weights are broadcast, those of a row from 4 lanes.

// By four channels: columns are channels, rows are a lane's elements.
struct Sums {
    a: mat4x4<f32>,
    b: mat4x4<f32>,
    c: mat4x4<f32>,
    d: mat4x4<f32>,
}

fn add_products(s: ptr<function, Sums>, x: mat4x4<f32>, w0: vec4<f32>, w1: vec4<f32>) {
    (*s).a += outer(x[0], subgroupBroadcast(w0, 0u));
    (*s).b += outer(x[0], subgroupBroadcast(w0, 1u));
    (*s).c += outer(x[0], subgroupBroadcast(w0, 2u));
    (*s).d += outer(x[0], subgroupBroadcast(w0, 3u));
    (*s).a += outer(x[1], subgroupBroadcast(w0, 4u));
    (*s).b += outer(x[1], subgroupBroadcast(w0, 5u));
    (*s).c += outer(x[1], subgroupBroadcast(w0, 6u));
    (*s).d += outer(x[1], subgroupBroadcast(w0, 7u));
    (*s).a += outer(x[2], subgroupBroadcast(w1, 0u));
    (*s).b += outer(x[2], subgroupBroadcast(w1, 1u));
    (*s).c += outer(x[2], subgroupBroadcast(w1, 2u));
    (*s).d += outer(x[2], subgroupBroadcast(w1, 3u));
    (*s).a += outer(x[3], subgroupBroadcast(w1, 4u));
    (*s).b += outer(x[3], subgroupBroadcast(w1, 5u));
    (*s).c += outer(x[3], subgroupBroadcast(w1, 6u));
    (*s).d += outer(x[3], subgroupBroadcast(w1, 7u));
}
