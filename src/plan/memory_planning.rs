//! Memory planning: tensors whose lifetimes do not overlap share a buffer.

use super::{BufferId, Operand, Plan};
use crate::tensor::Precision;

/// Renumbers the buffers of a plan so that tensors with disjoint lifetimes share one.
///
/// Buffers of inputs, outputs, sums and states are never shared.
pub(crate) fn plan_memory(mut plan: Plan) -> Plan {
    let count = plan.buffers.len();
    let mut pinned = vec![false; count];
    for port in plan.inputs.iter().chain(&plan.outputs).chain(&plan.sums) {
        if let Operand::Buffer(b) = port.place {
            pinned[b] = true;
        }
    }
    plan.states.iter().for_each(|state| pinned[state.buffer] = true);
    // The last step that reads or writes each buffer.
    let mut last = vec![0; count];
    for (at, step) in plan.steps.iter().enumerate() {
        last[step.output] = at;
        for input in &step.inputs {
            if let Operand::Buffer(b) = *input {
                last[b] = at;
            }
        }
    }
    let mut place: Vec<Option<BufferId>> = vec![None; count];
    let mut sizes: Vec<usize> = Vec::new();
    // The precision of each new buffer: f16 and f32 never share one.
    let mut kinds: Vec<Precision> = Vec::new();
    let mut free: Vec<BufferId> = Vec::new();
    for b in (0..count).filter(|&b| pinned[b]) {
        place[b] = Some(sizes.len());
        sizes.push(plan.buffers[b]);
        kinds.push(plan.precision(b));
    }
    for at in 0..plan.steps.len() {
        let output = plan.steps[at].output;
        if place[output].is_none() {
            let (len, kind) = (plan.buffers[output], plan.precision(output));
            // The smallest that is large enough; else the largest, grown.
            let alike = || free.iter().enumerate().filter(|&(_, &b)| kinds[b] == kind);
            let fit = alike()
                .filter(|&(_, &b)| sizes[b] >= len)
                .min_by_key(|&(_, &b)| sizes[b])
                .or_else(|| alike().max_by_key(|&(_, &b)| sizes[b]))
                .map(|(i, _)| i);
            place[output] = Some(match fit {
                Some(i) => {
                    let buffer = free.swap_remove(i);
                    sizes[buffer] = sizes[buffer].max(len);
                    buffer
                }
                None => {
                    sizes.push(len);
                    kinds.push(kind);
                    sizes.len() - 1
                }
            });
        }
        let step = &plan.steps[at];
        let mut ended: Vec<BufferId> = step
            .inputs
            .iter()
            .filter_map(|input| match *input {
                Operand::Buffer(b) => Some(b),
                Operand::Constant(_) => None,
            })
            .chain([step.output])
            .filter(|&b| last[b] == at && !pinned[b])
            .collect();
        ended.sort_unstable();
        ended.dedup();
        free.extend(ended.into_iter().filter_map(|b| place[b]));
    }
    let renumber = |operand: &mut Operand| {
        if let Operand::Buffer(b) = operand {
            *b = place[*b].unwrap_or(0);
        }
    };
    for step in &mut plan.steps {
        step.inputs.iter_mut().for_each(renumber);
        step.output = place[step.output].unwrap_or(0);
    }
    for port in plan.inputs.iter_mut().chain(&mut plan.outputs).chain(&mut plan.sums) {
        renumber(&mut port.place);
    }
    for state in &mut plan.states {
        state.buffer = place[state.buffer].unwrap_or(0);
    }
    plan.buffers = sizes;
    if let Some(f16_storage) = &mut plan.f16_storage {
        *f16_storage = (0..kinds.len()).filter(|&b| kinds[b] == Precision::F16).collect();
    }
    plan
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Port, Step};
    use super::*;
    use crate::kernels::activation::Activation;
    use crate::kernels::elementwise::Unary;
    use crate::tensor::DType;

    #[test]
    fn a_chain_needs_two_buffers_beside_its_ends() {
        let step = |from: usize, to: usize| Step {
            kernel: Arc::new(Unary { len: 4, activation: Activation::Relu }),
            inputs: vec![Operand::Buffer(from)],
            output: to,
            node: String::new(),
            value: None,
        };
        let port =
            |b| Port { name: String::new(), place: Operand::Buffer(b), shape: vec![4], dtype: DType::F32 };
        let plan = Plan {
            buffers: vec![4; 6],
            steps: (0..5).map(|i| step(i, i + 1)).collect(),
            inputs: vec![port(0)],
            outputs: vec![port(5)],
            ..Plan::default()
        };
        let plan = plan_memory(plan);
        assert_eq!(plan.buffers.len(), 4);
        for step in &plan.steps {
            assert_ne!(
                step.inputs[0],
                Operand::Buffer(step.output),
                "a step must not overwrite what it reads"
            );
        }
    }
}
