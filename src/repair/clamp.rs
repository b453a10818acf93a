//! What a layer should give when a clamp follows it: what lies behind a bound is cut off there, however far.
//!
//! Where the original lies within the bounds the layer is to give the same; where it lies beyond one, anything beyond
//! does as well. `t = y` within, else the nearest to `p` (what the layer gives by now) that the clamp makes the same of.
//! A least-squares fit to `t` never errs more behind the clamp than `p` did, but for the pull of the ridge; so a few
//! fits, each with the `p` of the one before, come nearer to what passes the clamp than one fit to `y` does.

use crate::error::Result;
use crate::graph::{Graph, ValueId};
use crate::kernels::activation::Activation;
use crate::tensor::Tensor;

/// The bounds of an activation that is a clamp.
pub(super) fn bounds(activation: &Activation) -> Option<(f32, f32)> {
    match *activation {
        Activation::Relu => Some((0.0, f32::INFINITY)),
        Activation::Clip(low, high) => Some((low, high)),
        _ => None,
    }
}

/// Puts `t` into a graph that has `y` and `p`.
pub(super) fn regression_target(
    graph: &mut Graph,
    (low, high): (f32, f32),
    (y, p): (ValueId, ValueId),
    name: &str,
) -> Result<ValueId> {
    let mut target = y;
    for (bound, within, nearest) in [(low, "Greater", "Min"), (high, "Less", "Max")] {
        if bound.is_infinite() {
            continue;
        }
        let bound =
            graph.add_value(format!("{name}: bound of {within}"), Some(Tensor::float(&[], vec![bound])));
        let inside = graph.add_operator((within, &[]), &[y, bound], format!("{name}: {within}"))?;
        let beyond = graph.add_operator((nearest, &[]), &[p, bound], format!("{name}: {nearest}"))?;
        target =
            graph.add_operator(("Where", &[]), &[inside, target, beyond], format!("{name}: by {within}"))?;
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::devices::Device;
    use crate::exec::session::Session;
    use crate::graph::{Dim, GraphInput};
    use crate::tensor::DType;

    #[test]
    fn the_target_is_the_nearest_that_the_clamp_makes_the_same_of() {
        let y = [-2.0, -1.0, 0.5, 3.0, 6.5, 9.0, 2.0, 6.5];
        let p = [-0.5, 4.0, -7.0, 8.0, 7.0, 1.0, 2.5, 6.25];
        for (low, high) in [(0.0f32, f32::INFINITY), (0.0, 6.0)] {
            let mut graph = Graph {
                nodes: vec![],
                values: vec![],
                inputs: vec![],
                outputs: vec![],
                opset: 17,
                path: "".into(),
            };
            let of = ["y", "p"].map(|name| {
                let value = graph.add_value(name.to_owned(), None);
                let dims = vec![Dim::Fixed(1), Dim::Fixed(y.len())];
                graph.inputs.push(GraphInput { value, dtype: DType::F32, dims });
                value
            });
            let out = regression_target(&mut graph, (low, high), (of[0], of[1]), "t").expect("operators");
            graph.outputs = vec![out];
            let mut session = Session::plain(&graph, &Device::Cpu, Some(1)).expect("a plan");
            let got = session.run_steps(&[&y, &p]).expect("runs").pop().expect("an output");
            for ((&y, &p), &t) in y.iter().zip(&p).zip(&got) {
                let clamp = |v: f32| v.clamp(low, high);
                let wanted = match y {
                    y if y <= low => p.min(low),
                    y if y >= high => p.max(high),
                    y => y,
                };
                assert!(t == wanted && clamp(t) == clamp(y), "{y} {p}: {t} for {wanted}");
            }
        }
    }
}
