//! The outputs of a network for every image of a batch.

use super::metric::NamedTensor;
use crate::error::Result;
use crate::exec::session::Session;
use crate::plan::Port;
use crate::tensor::{Data, Tensor};

/// Returns the outputs of every image, with a batch axis of 1 also if the network has no such axis.
pub(super) fn predict(session: &mut Session, images: &[f32]) -> Result<Vec<Vec<NamedTensor>>> {
    let batched = session.is_batched();
    let shape = |port: &Port| {
        let lacks = !batched && port.shape.first() != Some(&1);
        if lacks { [&[1], port.shape.as_slice()].concat() } else { port.shape.clone() }
    };
    let ports: Vec<_> =
        session.plan.outputs.iter().map(|port| (port.name.clone(), shape(port), port.dtype)).collect();
    let batch = session.batch.max(1);
    let mut all = Vec::new();
    session.run_samples(images, &mut |outputs, count| {
        for i in 0..count {
            let one = ports.iter().zip(outputs).map(|((name, shape, dtype), values)| {
                let len = values.len() / batch;
                let first = shape.first().map(|&first| first / batch);
                let shape = first.into_iter().chain(shape.iter().skip(1).copied()).collect();
                let values = &values[i * len..(i + 1) * len];
                let data = if dtype.is_float() {
                    Data::Float(std::sync::Arc::new(values.to_vec()))
                } else {
                    Data::Int(std::sync::Arc::new(values.iter().map(|&v| v as i64).collect()))
                };
                (name.clone(), Tensor { dtype: *dtype, shape, data })
            });
            all.push(one.collect());
        }
        Ok(())
    })?;
    Ok(all)
}
