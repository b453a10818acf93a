// The number of an invocation, where workgroups of 64 are counted over x and then y, because a
// dimension ends at 65,535. The other side is `kernels::grid`.
fn invocation(workgroup: vec3<u32>, workgroups: vec3<u32>, local: u32) -> u32 {
    return (workgroup.x + workgroup.y * workgroups.x) * 64u + local;
}

