// The index of an invocation in a grid of workgroups of 64. It counts over x and then y, because a dimension is at
// most 65,535. The Rust side is `kernels::grid`.
fn invocation(workgroup: vec3<u32>, workgroups: vec3<u32>, local: u32) -> u32 {
    return (workgroup.x + workgroup.y * workgroups.x) * 64u + local;
}

