// Returns the place of element i of a filter in an array [groups, outer, filters, inner]. Every group has its own filters.
fn filter_element(filter_index: u32, i: u32, outer: u32, filters: u32, inner: u32) -> u32 {
    let group = quotient(filter_index, filters);
    let o = quotient(i, inner);
    let run = (group * outer + o) * filters + filter_index - group * filters;
    return run * inner + i - o * inner;
}
