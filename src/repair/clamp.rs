//! Regression targets of layers before a clamp (Relu, Clip), which ignores how far a value is out of bounds.
//!
//! The target `t` is the original value `y` inside the bounds. Where `y` is clipped, `t` is the prediction `p` (the
//! layer's current output) projected onto the clipped side. A least-squares fit to `t` never has a larger error behind
//! the clamp than `p` had, apart from the ridge. So a few fits, each with the `p` of the previous one, have a smaller
//! error behind the clamp than a fit to `y`.

use crate::error::Result;
use crate::graph::{Graph, ValueId};
use crate::kernels::activation::Activation;
use crate::tensor::Tensor;

/// Returns the bounds of an activation that is a clamp.
pub(super) fn bounds(activation: &Activation) -> Option<(f32, f32)> {
    match *activation {
        Activation::Relu => Some((0.0, f32::INFINITY)),
        Activation::Clip(low, high) => Some((low, high)),
        _ => None,
    }
}

/// Adds the target `t` to a graph that contains `y` and `p`.
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
    fn the_target_is_the_nearest_value_with_an_equal_clamped_value() {
        let y = [-2.0, -1.0, 0.5, 3.0, 6.5, 9.0, 2.0, 6.5];
        let p = [-0.5, 4.0, -7.0, 8.0, 7.0, 1.0, 2.5, 6.25];
        for (low, high) in [(0.0f32, f32::INFINITY), (0.0, 6.0)] {
            let mut graph = Graph::new(17, "".into());
            let of = ["y", "p"].map(|name| {
                let value = graph.add_value(name.to_owned(), None);
                let dims = vec![Dim::Fixed(1), Dim::Fixed(y.len())];
                graph.inputs.push(GraphInput::new(value, DType::F32, dims));
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
