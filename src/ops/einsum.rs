//! The operator Einsum of one or two operands, by sums, permutations and a batched matrix product.

use std::collections::BTreeSet;

use super::data_movement::strided;
use super::lower::{Lowering, Slot};
use super::{Build, Operator};
use crate::coupling::Propagation;
use crate::error::{Error, ErrorKind, Result};
use crate::fact::{Fact, Inputs};
use crate::kernels::activation::Activation;
use crate::kernels::gemm::MatMulKernel;
use crate::kernels::reduction::{ReduceKernel, ReduceOp};
use crate::tensor::{show, strides};

#[derive(Debug)]
struct Einsum {
    equation: String,
}

/// Builds Einsum: a sum of products given by an equation.
pub(super) fn einsum(build: &Build) -> Result<Box<dyn Operator>> {
    let equation = build.attrs.string("equation")?.unwrap_or_default();
    Ok(Box::new(Einsum { equation: equation.chars().filter(|c| !c.is_whitespace()).collect() }))
}

/// A parsed equation: the subscripts of each operand and of the output, with their sizes.
struct Terms {
    operands: Vec<Vec<char>>,
    output: Vec<char>,
    sizes: Vec<(char, usize)>,
}

/// The subscripts of the axes of an ellipsis, the last axis first.
const ELLIPSIS: [char; 6] = ['0', '1', '2', '3', '4', '5'];

impl Terms {
    fn of(equation: &str, inputs: &Inputs) -> Result<Self> {
        let bad = |why: &str| {
            Error::new(format!("an Einsum {why}")).got(equation.to_owned()).with_kind(ErrorKind::InvalidModel)
        };
        let (left, right) = match equation.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (equation, None),
        };
        for term in left.split(',').chain(right) {
            if !term.replacen("...", "", 1).chars().all(|c| c.is_ascii_alphabetic()) {
                return Err(bad("with a term that cannot be read")
                    .expected("letters, and one \"...\"")
                    .got(term));
            }
        }
        let mut terms = Self { operands: vec![], output: vec![], sizes: vec![] };
        let mut ellipsis = 0;
        for (i, term) in left.split(',').enumerate() {
            let shape = &inputs.get(i)?.shape;
            let letters = term.chars().filter(char::is_ascii_alphabetic).count();
            let axes = shape.len().saturating_sub(letters).min(ELLIPSIS.len());
            let labels = expand(term, axes);
            if labels.len() != shape.len() {
                return Err(bad("whose terms do not fit its inputs").expected(show(shape)));
            }
            for (&label, &size) in labels.iter().zip(shape) {
                match terms.sizes.iter().find(|s| s.0 == label) {
                    None => terms.sizes.push((label, size)),
                    Some(&(_, other)) if other == size => {}
                    Some(&(_, other)) => {
                        return Err(bad("whose axes differ in size")
                            .expected(format!("{other} along {label}"))
                            .got(size.to_string()));
                    }
                }
            }
            if term.contains("...") {
                ellipsis = ellipsis.max(axes);
            }
            terms.operands.push(labels);
        }
        if terms.operands.len() != inputs.facts.len() || !(1..=2).contains(&terms.operands.len()) {
            return Err(bad("of more than two operands is not supported")
                .expected("one or two")
                .unsupported());
        }
        terms.output = match right {
            Some(right) => expand(right, ellipsis),
            None => {
                // By default, the output has the subscripts that occur once, sorted, after the ellipsis.
                let all: Vec<char> = terms.operands.concat();
                let once = |c: &char| all.iter().filter(|o| *o == c).count() == 1 && c.is_ascii_alphabetic();
                let letters: BTreeSet<char> = all.iter().copied().filter(once).collect();
                ELLIPSIS[..ellipsis].iter().rev().copied().chain(letters).collect()
            }
        };
        if repeats(&terms.output) {
            return Err(bad("whose output has an axis twice"));
        }
        match terms.output.iter().find(|c| terms.size(**c) == 0) {
            Some(_) => Err(bad("whose output has an axis that no input has")),
            None => Ok(terms),
        }
    }

    fn size(&self, label: char) -> usize {
        self.sizes.iter().find(|s| s.0 == label).map_or(0, |s| s.1)
    }

    fn shape(&self, labels: &[char]) -> Vec<usize> {
        labels.iter().map(|&c| self.size(c)).collect()
    }

    fn count(&self, labels: &[char]) -> usize {
        self.shape(labels).iter().product()
    }
}

fn expand(term: &str, ellipsis: usize) -> Vec<char> {
    let inside: String = ELLIPSIS[..ellipsis].iter().rev().collect();
    term.replace("...", &inside).chars().collect()
}

/// Returns whether a subscript occurs twice.
fn repeats(labels: &[char]) -> bool {
    (1..labels.len()).any(|i| labels[..i].contains(&labels[i]))
}

/// Emits a value with its axes in another order; a subscript of several axes selects their diagonal.
fn permute(
    l: &mut Lowering,
    terms: &Terms,
    from: &[char],
    to: &[char],
    source: Slot,
    target: Slot,
) -> Result<()> {
    let own = strides(&terms.shape(from));
    let shape = terms.shape(to);
    let step = |c: &char| from.iter().zip(&own).filter(|(f, _)| *f == c).map(|(_, step)| step).sum();
    let (src, dst) = (terms.count(from), terms.count(to));
    let copy = strided(&shape, (src, 0, to.iter().map(step).collect()), (dst, 0, strides(&shape)))?;
    l.call(copy, vec![source], target);
    Ok(())
}

/// Emits operand `i` with its axes in the order `kept`, summed over all other axes.
fn arranged(l: &mut Lowering, terms: &Terms, i: usize, kept: &[char]) -> Result<Slot> {
    let own = terms.operands[i].clone();
    let mut summed: Vec<char> = Vec::new();
    for &label in own.iter().filter(|c| !kept.contains(c)) {
        if !summed.contains(&label) {
            summed.push(label);
        }
    }
    let order: Vec<char> = kept.iter().chain(&summed).copied().collect();
    let mut slot = Slot::Input(i);
    if order != own {
        let moved = l.temp(terms.count(&order));
        permute(l, terms, &own, &order, slot, moved.clone())?;
        slot = moved;
    }
    if !summed.is_empty() {
        let sums = l.temp(terms.count(kept));
        let kernel = ReduceKernel {
            op: ReduceOp::Sum,
            outer: terms.count(kept),
            axis: terms.count(&summed),
            inner: 1,
        };
        l.call(kernel, vec![slot], sums.clone());
        slot = sums;
    }
    Ok(slot)
}

impl Operator for Einsum {
    fn infer(&self, inputs: &Inputs) -> Result<Vec<Fact>> {
        let terms = Terms::of(&self.equation, inputs)?;
        Ok(vec![inputs.get(0)?.with_shape(&terms.shape(&terms.output))])
    }

    fn lower(&self, l: &mut Lowering) -> Result<()> {
        let terms = Terms::of(&self.equation, &l.inputs)?;
        let output = terms.output.clone();
        let [a, b] = match terms.operands.as_slice() {
            [_] => {
                let slot = arranged(l, &terms, 0, &output)?;
                l.alias(0, slot);
                return Ok(());
            }
            [a, b] => [a.clone(), b.clone()],
            _ => return Err(Error::new("an Einsum of more than two operands").internal()),
        };
        let both = |c: &char| a.contains(c) && b.contains(c);
        let select =
            |from: &[char], f: &dyn Fn(&char) -> bool| from.iter().copied().filter(|c| f(c)).collect();
        let batch: Vec<char> = select(&output, &both);
        let rows: Vec<char> = select(&output, &|c| a.contains(c) && !b.contains(c));
        let columns: Vec<char> = select(&output, &|c| b.contains(c) && !a.contains(c));
        let mut inner: Vec<char> = select(&a, &|c| b.contains(c) && !output.contains(c));
        inner.sort_unstable();
        inner.dedup();
        let left = arranged(l, &terms, 0, &[batch.as_slice(), &rows, &inner].concat())?;
        let right = arranged(l, &terms, 1, &[batch.as_slice(), &inner, &columns].concat())?;
        let kernel = MatMulKernel {
            batch: terms.count(&batch),
            m: terms.count(&rows),
            k: terms.count(&inner),
            n: terms.count(&columns),
            a_batched: true,
            b_batched: true,
            activation: Activation::None,
        };
        let order = [batch.as_slice(), &rows, &columns].concat();
        let product = if order == output { Slot::Output(0) } else { l.temp(terms.count(&output)) };
        l.call(kernel, vec![left, right], product.clone());
        if order != output {
            permute(l, &terms, &order, &output, product, Slot::Output(0))?;
        }
        Ok(())
    }

    fn propagate(&self, flow: &mut Propagation) -> Result<()> {
        let terms = Terms::of(&self.equation, &flow.inputs)?;
        let numbers = |labels: &[char]| labels.iter().map(|&c| c as usize).collect::<Vec<_>>();
        match terms.operands.as_slice() {
            [a, b] if !repeats(a) && !repeats(b) => {
                flow.product(&numbers(a), &numbers(b), &numbers(&terms.output));
            }
            _ => flow.freeze_all("sums or takes diagonals by an equation"),
        }
        Ok(())
    }

    fn macs(&self, inputs: &Inputs, _: &[Fact]) -> u64 {
        match Terms::of(&self.equation, inputs) {
            Ok(terms) if terms.operands.len() == 2 => terms.sizes.iter().map(|s| s.1 as u64).product(),
            _ => 0,
        }
    }
}
