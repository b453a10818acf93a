//! Penalties that shrink whole groups of weights to zero while a network trains.

use std::collections::BTreeMap;

use super::objective::Calls;
use super::update::Trained;
use crate::error::{Error, Result};
use crate::kernels::optimizer::{FilterLayout, FilterSquares, ScaleFilters, ShrinkFactors};
use crate::plan::{Operand, Plan};

/// The kind and strength λ of a penalty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PenaltyRule {
    /// The norms of all weights of coupled channels (Wen 2016): whole channels become zero.
    GroupLasso(f64),
    /// The magnitudes of BatchNormalization's scales (Liu 2017).
    BnL1(f64),
}

impl PenaltyRule {
    /// Returns the strength.
    pub fn strength(self) -> f64 {
        match self {
            Self::GroupLasso(strength) | Self::BnL1(strength) => strength,
        }
    }
}

impl std::fmt::Display for PenaltyRule {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::GroupLasso(strength) => write!(f, "group-lasso:{strength}"),
            Self::BnL1(strength) => write!(f, "bn-l1:{strength}"),
        }
    }
}

impl serde::Serialize for PenaltyRule {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl std::str::FromStr for PenaltyRule {
    type Err = Error;

    /// Parses `group-lasso:0.1` or `bn-l1:0.1`.
    fn from_str(text: &str) -> Result<Self> {
        let (name, strength) = text.split_once(':').unwrap_or((text, ""));
        let strength = strength.parse::<f64>().ok().filter(|s| *s > 0.0 && s.is_finite());
        match (name, strength) {
            ("group-lasso", Some(strength)) => Ok(Self::GroupLasso(strength)),
            ("bn-l1", Some(strength)) => Ok(Self::BnL1(strength)),
            _ => Err(Error::new("this is no penalty of a training")
                .expected("group-lasso or bn-l1 with a strength above 0")
                .got(text)
                .meant(name, ["group-lasso", "bn-l1"], "for example group-lasso:0.1")),
        }
    }
}

/// A penalty λ·Σ √n·‖w‖ over groups of n weights, applied as a proximal step after every update.
///
/// Groups of the filters of coupled channels make the group lasso of structured sparsity (Wen 2016); single scales of
/// BatchNormalizations make the L1 penalty of network slimming (Liu 2017).
#[derive(Clone, Debug, PartialEq)]
pub struct Penalty {
    /// The strength λ.
    pub strength: f64,
    /// The layout of each parameter with filters in groups, by the name of its initializer.
    pub layouts: BTreeMap<String, FilterLayout>,
    /// The groups: filters as the parameter's name and the filter's index. A filter is in one group at most.
    pub groups: Vec<Vec<(String, usize)>>,
}

impl Penalty {
    /// Appends the proximal step of all trained parameters; filters without a group stay as they are.
    pub(super) fn append(
        &self,
        plan: &mut Plan,
        trained: &[Trained],
        (settings, norm): (Operand, Operand),
        arrays: usize,
    ) {
        let parts: Vec<(&Trained, FilterLayout)> = trained
            .iter()
            .filter_map(|one| Some((one, *self.layouts.get(&one.parameter.name)?)))
            .filter(|(one, layout)| layout.elements() == one.parameter.initial.len())
            .collect();
        let total: usize = parts.iter().map(|(_, layout)| layout.count()).sum();
        if total == 0 {
            return;
        }
        let mut offsets = BTreeMap::new();
        let mut offset = 0;
        for (one, layout) in &parts {
            offsets.insert(one.parameter.name.as_str(), (offset, *layout));
            offset += layout.count();
        }
        plan.buffers.push(total);
        let squares = plan.buffers.len() - 1;
        let mut calls = Calls { plan, node: "penalty" };
        for (one, layout) in &parts {
            let (offset, _) = offsets[one.parameter.name.as_str()];
            let kernel = FilterSquares { layout: *layout, offset, total };
            calls.write(kernel, vec![Operand::Buffer(one.buffer)], squares);
        }
        let (starts, coupled, sizes) = self.tables(&offsets, total);
        let kernel = ShrinkFactors { filters: total, coupled: coupled.len(), strength: self.strength };
        let tables = [starts, coupled, sizes].map(|table| calls.constant(table));
        let inputs = [[Operand::Buffer(squares)].as_slice(), &tables, &[settings, norm]].concat();
        let factors = calls.call(kernel, inputs);
        for (one, layout) in &parts {
            let (offset, _) = offsets[one.parameter.name.as_str()];
            let kernel = ScaleFilters { layout: *layout, offset, total, arrays };
            calls.write(kernel, vec![factors], one.buffer);
        }
    }

    /// Returns, for each filter, the first place of its coupled filters in a list, that list, and the group's weights.
    ///
    /// Filters without a group get a group of no weights, which does not shrink.
    fn tables(
        &self,
        offsets: &BTreeMap<&str, (usize, FilterLayout)>,
        total: usize,
    ) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let mut group_of: Vec<Option<usize>> = vec![None; total];
        let mut groups: Vec<(Vec<usize>, usize)> = Vec::new();
        for group in &self.groups {
            let mut members = (vec![], 0);
            for (name, filter) in group {
                let Some(&(offset, layout)) = offsets.get(name.as_str()) else { continue };
                if *filter < layout.count() {
                    members.0.push(offset + filter);
                    members.1 += layout.size();
                }
            }
            members.0.iter().for_each(|&filter| group_of[filter] = Some(groups.len()));
            groups.push(members);
        }
        let (mut starts, mut list, mut sizes) = (vec![0.0], Vec::new(), Vec::new());
        for (filter, group) in group_of.iter().enumerate() {
            let alone = (vec![filter], 0);
            let (members, weights) = group.map_or(&alone, |group| &groups[group]);
            list.extend(members.iter().map(|&member| member as f32));
            starts.push(list.len() as f32);
            sizes.push(*weights as f32);
        }
        (starts, list, sizes)
    }
}
