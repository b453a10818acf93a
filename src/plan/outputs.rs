//! The end of a plan: its outputs, probes and f16 storage.

use std::collections::HashSet;

use super::build::{Draft, PlanBuilder};
use super::{BufferId, Operand, Port, Probe, Step};
use crate::error::{Error, Result};
use crate::tensor::{DType, Precision};

impl PlanBuilder<'_> {
    /// Adds the plan's last input: one weight for every image of the batch.
    fn image_weights(&mut self) -> Operand {
        let batch = self.plan.batch;
        let place = self.buffer(batch);
        self.plan.inputs.push(Port {
            name: "image weights".to_owned(),
            place,
            shape: vec![batch],
            dtype: DType::F32,
        });
        place
    }

    /// Checks that an accumulating probe takes its values and one weight for every image.
    fn check_probe(&self, probe: &Probe) -> Result<()> {
        let values = probe.values.iter().map(|&v| self.facts.shape(v).iter().product());
        let expected: Vec<usize> = values.chain([self.plan.batch]).collect();
        let got = probe.kernel.input_lens();
        if expected == got {
            return Ok(());
        }
        Err(Error::new("an accumulating probe does not take its values and the image weights")
            .expected(format!("inputs of {expected:?} elements"))
            .got(format!("{got:?}"))
            .internal())
    }

    /// Returns the buffers of floating-point values of the network that are neither inputs nor outputs of the plan.
    fn f16_candidates(&self) -> HashSet<BufferId> {
        let (mut floats, mut others) = (HashSet::new(), HashSet::new());
        for (value, place) in self.places.iter_enumerated() {
            if let Some(Operand::Buffer(buffer)) = *place {
                let float = self.facts.get(value).is_some_and(|fact| fact.dtype.is_float());
                let set = if float { &mut floats } else { &mut others };
                set.insert(buffer);
            }
        }
        let ports = self.plan.inputs.iter().chain(&self.plan.outputs).chain(&self.plan.sums);
        let ports: HashSet<Operand> = ports.map(|port| port.place).collect();
        floats.retain(|&buffer| !others.contains(&buffer) && !ports.contains(&Operand::Buffer(buffer)));
        floats
    }

    /// Adds outputs and probes, and returns the plan with the operands of all computed values.
    pub(super) fn finish(mut self) -> Result<Draft> {
        let options = self.options;
        for value in std::mem::take(&mut self.given) {
            let place = self.place(value).map_err(|e| e.file(&self.graph.path))?;
            let (name, shape) = (self.graph.name(value).to_owned(), self.facts.shape(value).to_vec());
            let dtype = self.facts.get(value).map_or(DType::F32, |f| f.dtype);
            self.plan.outputs.push(Port { name, place, shape, dtype });
        }
        let weights = options.probes.iter().any(|p| p.kernel.accumulates()).then(|| self.image_weights());
        for probe in &options.probes {
            let places = probe.values.iter().map(|&v| self.place(v)).collect::<Result<Vec<_>>>();
            let mut inputs = places.map_err(|e| e.file(&self.graph.path))?;
            if probe.kernel.accumulates() {
                self.check_probe(probe).map_err(|e| e.node(&probe.name).file(&self.graph.path))?;
                inputs.extend(weights);
            }
            let place = self.buffer(probe.kernel.output_len());
            let Operand::Buffer(output) = place else { continue };
            let step =
                Step { kernel: probe.kernel.clone(), inputs, output, node: probe.name.clone(), value: None };
            // Directly after the step that completes the values, so that their buffers can be shared.
            let made = |&operand: &Operand| match operand {
                Operand::Buffer(b) => {
                    self.plan.steps.iter().rposition(|s| s.output == b).map_or(0, |s| s + 1)
                }
                Operand::Constant(_) => 0,
            };
            let at = step.inputs.iter().map(made).max().unwrap_or(0);
            self.plan.steps.insert(at, step);
            let (name, shape) = (probe.name.clone(), probe.shape.clone());
            let port = Port { name, place, shape, dtype: DType::F32 };
            if probe.kernel.accumulates() {
                self.plan.sums.push(port);
            } else {
                self.plan.outputs.push(port);
            }
        }
        if options.precision == Precision::F16 {
            let candidates = self.f16_candidates();
            self.plan.store_as_f16(candidates);
        }
        Ok(Draft { plan: self.plan, places: self.places })
    }
}
