//! Time steps on the host: products of a few sequences' states with packed weights, then elementwise gates.
//!
//! Sequences and directions are independent. Up to four sequences share the reads of the weights. Each sum adds its
//! products in the order of the hidden units, wherever it lies, so that the division changes no bit.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::cell::Cell;
use super::shape::RecurrentKernel;
use crate::kernels::instructions;

/// Rows of a panel of weights.
const PANEL: usize = 64;
/// Vectors of a tile's row.
const VECTORS: usize = 4;
/// Most sequences that share the reads of the weights.
const ROWS: usize = 4;

/// Packed rows of the recurrence weights, for one product in each step.
pub(crate) struct Packed {
    /// Panels of `[depth][64]`; the last one is padded with zeros.
    panels: Vec<[f32; PANEL]>,
    depth: usize,
}

impl Packed {
    fn new(weights: &[f32], rows: usize, depth: usize) -> Self {
        let mut panels = vec![[0.0; PANEL]; rows.div_ceil(PANEL) * depth];
        for (panel, rows) in panels.chunks_mut(depth.max(1)).zip(weights.chunks((PANEL * depth).max(1))) {
            for (lane, row) in rows.chunks_exact(depth).enumerate() {
                panel.iter_mut().zip(row).for_each(|(packed, &weight)| packed[lane] = weight);
            }
        }
        Self { panels, depth }
    }

    /// Length of a row of sums.
    fn width(&self) -> usize {
        self.panels.len() / self.depth.max(1) * PANEL
    }

    /// Multiplies up to four rows `[depth]` with the weights; `sums` has a row of [`Packed::width`] for each.
    fn product(&self, arch: Arch, rows: &[f32], sums: &mut [f32]) {
        let mut all = [&rows[..self.depth]; ROWS];
        let count = rows.len() / self.depth;
        all.iter_mut().zip(rows.chunks_exact(self.depth)).for_each(|(row, of)| *row = of);
        arch.dispatch(Product { packed: self, rows: all, count, sums });
    }
}

/// A product of rows with packed weights.
struct Product<'a> {
    packed: &'a Packed,
    rows: [&'a [f32]; ROWS],
    count: usize,
    sums: &'a mut [f32],
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let [a, b, c, d] = self.rows;
        let width = self.packed.width();
        for (index, panel) in self.packed.panels.chunks_exact(self.packed.depth).enumerate() {
            let sums = &mut self.sums[index * PANEL..];
            match self.count {
                1 => tiles(simd, panel, [a], width, sums),
                2 => tiles(simd, panel, [a, b], width, sums),
                3 => tiles(simd, panel, [a, b, c], width, sums),
                _ => tiles(simd, panel, [a, b, c, d], width, sums),
            }
        }
    }
}

/// Multiplies `R` rows with a panel, some vectors of the panel at a time.
#[inline(always)]
fn tiles<S: Simd, const R: usize>(
    simd: S,
    panel: &[[f32; PANEL]],
    rows: [&[f32]; R],
    width: usize,
    sums: &mut [f32],
) {
    for first in (0..PANEL / S::F32_LANES).step_by(VECTORS) {
        let mut tile = [[simd.splat_f32s(0.0); VECTORS]; R];
        for (k, weights) in panel.iter().enumerate() {
            let (weights, _) = S::as_simd_f32s(&weights[..]);
            let weights = &weights[first..first + VECTORS];
            for r in 0..R {
                let factor = simd.splat_f32s(rows[r][k]);
                for v in 0..VECTORS {
                    tile[r][v] = simd.mul_add_e_f32s(factor, weights[v], tile[r][v]);
                }
            }
        }
        for r in 0..R {
            let (sums, _) = S::as_mut_simd_f32s(&mut sums[r * width..][..PANEL]);
            sums[first..first + VECTORS].copy_from_slice(&tile[r]);
        }
    }
}

/// The states of a few sequences of one direction: all hidden states, then the final states.
struct Block {
    direction: usize,
    sequences: Range<usize>,
    /// Hidden states, `[sequences][steps][hidden]`.
    y: Vec<f32>,
    /// Hidden and second states, `[sequences][hidden]` each.
    states: [Vec<f32>; 2],
}

impl RecurrentKernel {
    /// Packs the recurrence weights: for each direction the rows of the products of a step.
    pub(super) fn packed(&self, weights: &[f32]) -> Vec<Packed> {
        let (h, gates) = (self.hidden, self.cell.gates());
        // The reset state is multiplied after the other gates.
        let split = if self.resets_first() { 2 } else { gates };
        let parts = |matrix: &[f32]| {
            let (now, later) = matrix.split_at(split * h * h);
            [(now, split), (later, gates - split)].map(|(rows, gates)| Packed::new(rows, gates * h, h))
        };
        weights.chunks((gates * h * h).max(1)).flat_map(parts).collect()
    }

    fn resets_first(&self) -> bool {
        self.cell == Cell::Gru { linear_before_reset: false }
    }

    /// Computes the output on the host.
    pub(super) fn run(&self, packed: &[Packed], inputs: &[&[f32]], output: &mut [f32]) {
        let threads = rayon::current_num_threads().max(1);
        let rows = (self.batch * self.count).div_ceil(threads).clamp(1, ROWS);
        let blocks: Vec<(usize, usize)> = (self.first..self.first + self.count)
            .flat_map(|direction| (0..self.batch).step_by(rows).map(move |first| (direction, first)))
            .collect();
        let work = |&(direction, first): &(usize, usize)| {
            let sequences = first..(first + rows).min(self.batch);
            self.block(direction, sequences, &packed[2 * direction..][..2], inputs)
        };
        let blocks: Vec<Block> = blocks.par_iter().map(work).collect();
        for block in blocks {
            self.store(&block, output);
        }
    }

    /// Copies the states of a block to the output.
    fn store(&self, block: &Block, output: &mut [f32]) {
        let h = self.hidden;
        for (row, sequence) in block.sequences.clone().enumerate() {
            for (step, y) in block.y[row * self.steps * h..].chunks_exact(h).take(self.steps).enumerate() {
                output[self.output_at(step, sequence, block.direction)..][..h].copy_from_slice(y);
            }
            for (at, states) in block.states.iter().enumerate().take(self.cell.states()) {
                let first = self.sequence_len() + at * self.state_len();
                let first = first + self.state_at(sequence, block.direction);
                output[first..][..h].copy_from_slice(&states[row * h..][..h]);
            }
        }
    }

    fn block(
        &self,
        direction: usize,
        sequences: Range<usize>,
        packed: &[Packed],
        inputs: &[&[f32]],
    ) -> Block {
        let (arch, h, count) = (instructions::arch(), self.hidden, sequences.len());
        let lengths: Vec<usize> =
            sequences.clone().map(|sequence| self.length(inputs[5][sequence].into())).collect();
        let initial = |input: &[f32]| -> Vec<f32> {
            let state = |(sequence, &length): (usize, &usize)| {
                let at = self.state_at(sequence, direction);
                if length > 0 { input[at..][..h].to_vec() } else { vec![0.0; h] }
            };
            sequences.clone().zip(&lengths).flat_map(state).collect()
        };
        let second = match self.cell {
            Cell::Lstm { .. } => initial(inputs[4]),
            Cell::Rnn | Cell::Gru { .. } => vec![0.0; count * h],
        };
        let mut block = Block {
            direction,
            sequences: sequences.clone(),
            y: vec![0.0; count * self.steps * h],
            states: [initial(inputs[3]), second],
        };
        let constants = &inputs[2][direction * 4 * h..][..4 * h];
        let widths = [packed[0].width(), packed[1].width()];
        let mut sums = [vec![0.0; count * widths[0]], vec![0.0; count * widths[1]]];
        let mut gates = vec![0.0; self.cell.gates() * h];
        for index in 0..lengths.iter().copied().max().unwrap_or(0) {
            let step = |row: usize| match self.is_backward(direction) {
                true => lengths[row] - 1 - index,
                false => index,
            };
            let active = |row: &usize| index < lengths[*row];
            let x = |row: usize| &inputs[0][self.input_at(step(row), sequences.start + row, direction)..];
            let [hidden, second] = &mut block.states;
            packed[0].product(arch, hidden, &mut sums[0]);
            if self.resets_first() {
                for row in (0..count).filter(active) {
                    let sums = &mut sums[0][row * widths[0]..][..2 * h];
                    sums.iter_mut().zip(x(row)).for_each(|(sum, x)| *sum += x);
                    self.gate(0, sums);
                    let state = second[row * h..][..h].iter_mut().zip(&hidden[row * h..]);
                    state.zip(&sums[h..]).for_each(|((state, h), reset)| *state = reset * h);
                }
                packed[1].product(arch, second, &mut sums[1]);
            }
            for row in (0..count).filter(active) {
                let [now, later] = [0, 1].map(|part| &sums[part][row * widths[part]..]);
                let state = (&mut hidden[row * h..][..h], &mut second[row * h..][..h]);
                self.update(x(row), (now, later), constants, &mut gates, state);
                let y = &mut block.y[(row * self.steps + step(row)) * h..][..h];
                y.copy_from_slice(&hidden[row * h..][..h]);
            }
        }
        block
    }

    /// Clips the arguments of gates and applies a function.
    fn gate(&self, function: usize, arguments: &mut [f32]) {
        if let Some(bound) = self.clip {
            let clip = |x: f32| {
                if x > bound {
                    bound
                } else if x < -bound {
                    -bound
                } else {
                    x
                }
            };
            arguments.iter_mut().for_each(|x| *x = clip(*x));
        }
        self.functions[function].apply_slice(arguments);
    }

    /// Updates a sequence's states by a step, from its input's products and the sums of its states' products.
    ///
    /// If the reset gate comes first, the first sums are the values of the update and reset gates.
    fn update(
        &self,
        x: &[f32],
        (sums, later): (&[f32], &[f32]),
        constants: &[f32],
        gates: &mut [f32],
        (state, second): (&mut [f32], &mut [f32]),
    ) {
        let h = self.hidden;
        let add = |to: &mut [f32], x: &[f32], sums: &[f32]| {
            to.iter_mut().zip(x).zip(sums).for_each(|((to, x), sum)| *to = x + sum);
        };
        match self.cell {
            Cell::Rnn => {
                add(state, x, sums);
                self.gate(0, state);
            }
            Cell::Gru { linear_before_reset } => {
                let (both, candidate) = gates.split_at_mut(2 * h);
                if linear_before_reset {
                    add(both, x, sums);
                    self.gate(0, both);
                    let terms = both[h..].iter().zip(&sums[2 * h..]).zip(&constants[3 * h..]);
                    let terms = terms.map(|((reset, sum), bias)| reset * (sum + bias));
                    candidate.iter_mut().zip(&x[2 * h..]).zip(terms).for_each(|((c, x), term)| *c = x + term);
                } else {
                    both.copy_from_slice(&sums[..2 * h]);
                    add(candidate, &x[2 * h..], later);
                }
                self.gate(1, candidate);
                let updates = both.iter().zip(&*candidate);
                state
                    .iter_mut()
                    .zip(updates)
                    .for_each(|(s, (update, c))| *s = (1.0 - update) * c + update * *s);
            }
            Cell::Lstm { input_forget, peepholes } => {
                add(gates, x, sums);
                let [input, output, forget, cell] = quarters(gates, h);
                let peek = |gate: &mut [f32], which: usize, cells: &[f32]| {
                    if peepholes {
                        let terms = constants[which * h..].iter().zip(cells);
                        gate.iter_mut().zip(terms).for_each(|(gate, (p, c))| *gate += p * c);
                    }
                };
                peek(input, 0, second);
                self.gate(0, input);
                if input_forget {
                    forget.iter_mut().zip(&*input).for_each(|(forget, input)| *forget = 1.0 - input);
                } else {
                    peek(forget, 2, second);
                    self.gate(0, forget);
                }
                self.gate(1, cell);
                let terms = input.iter().zip(&*cell).zip(&*forget);
                second.iter_mut().zip(terms).for_each(|(c, ((i, g), f))| *c = f * *c + i * g);
                peek(output, 1, second);
                self.gate(0, output);
                state.copy_from_slice(second);
                self.functions[2].apply_slice(state);
                state.iter_mut().zip(&*output).for_each(|(s, o)| *s *= o);
            }
        }
    }
}

/// Splits the four gates of an LSTM.
fn quarters(gates: &mut [f32], hidden: usize) -> [&mut [f32]; 4] {
    let (left, right) = gates.split_at_mut(2 * hidden);
    let (a, b) = left.split_at_mut(hidden);
    let (c, d) = right.split_at_mut(hidden);
    [a, b, c, d]
}
