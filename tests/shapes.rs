//! Compares random convolutions with their `f64` reference, by every algorithm on every adapter and on the host, and
//! the bits of an image alone with those in a batch.
//!
//! SECATEUR_SHAPES sets the number of convolutions (150 by default); SECATEUR_SHAPE selects a single one.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::sync::Arc;

use half::f16;
use secateur::exec::devices::Device;
use secateur::kernels::activation::Activation;
use secateur::kernels::algorithms::algorithms;
use secateur::kernels::conv::ConvKernel;
use secateur::kernels::depthwise::Depthwise;
use secateur::kernels::window::Windows;
use secateur::kernels::{Case, Kernel};
use secateur::tensor::Precision;

#[path = "common/adapters.rs"]
mod adapters;
#[path = "common/calls.rs"]
mod calls;
#[path = "common/dice.rs"]
mod dice;

use calls::{expected, mismatch, mismatch_f16, noise, one_step};
use dice::Dice;

/// Most products of a case, because the reference is slow.
const MOST: usize = 1 << 21;

impl Dice {
    /// Returns a random element of a list.
    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len())]
    }

    fn channels(&mut self) -> usize {
        let most = self.of(&[4, 20, 70, 140]);
        1 + self.roll(most)
    }

    /// Random windows along an axis: in, out, kernel, stride, dilation, pad.
    fn axis(&mut self, kernel: usize, stride: usize) -> [usize; 6] {
        let dilation = if self.roll(6) == 0 { 2 } else { 1 };
        let reach = (kernel - 1) * dilation + 1;
        let pad = self.of(&[kernel / 2, kernel / 2, 0, 3]);
        let most = self.of(&[3, 9, 30]);
        let input = reach.saturating_sub(pad).max(1) + self.roll(most);
        // Padding after the last row is as large as before the first, or absent.
        let behind = if self.roll(3) == 0 { 0 } else { pad };
        let all = (input + pad + behind).max(reach);
        [input, (all - reach) / stride + 1, kernel, stride, dilation, pad]
    }
}

/// A name, and a call for a given batch size.
type Call = (String, Box<dyn Fn(usize) -> Arc<dyn Kernel>>);

fn random(dice: &mut Dice) -> (usize, Call) {
    let (kernel, stride) = (dice.of(&[1, 1, 3, 3, 3, 2, 5, 7]), dice.of(&[1, 1, 1, 2, 3]));
    let kernels = if dice.roll(5) == 0 { [1, kernel] } else { [kernel; 2] };
    let [down, across] = [dice.axis(kernels[0], stride), dice.axis(kernels[1], stride)];
    let [in_hw, out_hw, kernel, stride, dilation, pad] = std::array::from_fn(|i| [down[i], across[i]]);
    let activation =
        dice.of(&[Activation::None, Activation::Relu, Activation::Clip(-0.5, 1.0), Activation::HardSwish]);
    let images = dice.of(&[1, 2, 3, 5]);
    let outs: usize = out_hw.iter().product();
    let taps: usize = kernel.iter().product();
    if dice.roll(5) == 0 {
        let (channels, multiplier) = (dice.channels(), 1 + dice.roll(3));
        let one = Depthwise {
            batch: 1,
            channels,
            multiplier,
            windows: Windows { in_hw, out_hw, kernel, stride, dilation, pad },
            activation,
        };
        let call = move |batch| Arc::new(Depthwise { batch, ..one.clone() }) as Arc<dyn Kernel>;
        return (images, (format!("{:?}", call(images)), Box::new(call)));
    }
    let groups = dice.of(&[1, 1, 1, 2, 3]);
    let (ins, mut per_group) = (dice.channels().div_ceil(groups), dice.channels().div_ceil(groups));
    while per_group > 1 && images * outs * taps * ins * per_group * groups > MOST {
        per_group /= 2;
    }
    let out_channels = per_group * groups;
    let (out_offset, more) =
        if groups == 1 && dice.roll(4) == 0 { (dice.roll(6), dice.roll(6)) } else { (0, 0) };
    let one = ConvKernel {
        batch: 1,
        groups,
        in_channels: ins * groups,
        out_channels,
        windows: Windows { in_hw, out_hw, kernel, stride, dilation, pad },
        out_offset,
        out_total: out_offset + out_channels + more,
        residual: dice.roll(3) == 0,
        activation,
    };
    let call = move |batch| Arc::new(ConvKernel { batch, ..one.clone() }) as Arc<dyn Kernel>;
    (images, (format!("{:?}", call(images)), Box::new(call)))
}

/// Describes a deviation of a call by an algorithm on a device from the reference.
fn wrong(images: usize, call: &Call, device: &Device, algorithm: &str) -> Option<String> {
    let kernel = call.1(images);
    let lens = kernel.input_lens();
    let mut inputs: Vec<Vec<f32>> = lens.iter().zip(1..).map(|(&len, seed)| noise(len, seed)).collect();
    // Scales sums of any length to the range of the activations.
    let length = (lens[1] / lens[2]) as f32;
    inputs[1].iter_mut().for_each(|w| *w /= length.sqrt());
    // Representable as f16.
    let exact = |x: &mut f32| *x = f16::from_f32(*x).to_f32();
    inputs
        .iter_mut()
        .enumerate()
        .filter(|(i, _)| *i != 2)
        .for_each(|(_, data)| data.iter_mut().for_each(exact));
    let case = Case { label: call.0.clone(), kernel, inputs };
    let expected = expected(&case);
    if let Some(why) = mismatch(&case, device, &expected, algorithm) {
        return Some(why);
    }
    if device.clone().at(Precision::F16).is_ok()
        && let Some(why) = mismatch_f16(&case, device, &expected, algorithm)
    {
        return Some(format!("in f16: {why}"));
    }
    let bits = |case: &Case| -> Vec<u32> {
        let (plan, inputs) = one_step(case, algorithm);
        let mut executor = device.load_by(&plan, algorithm, true).unwrap();
        executor.run(&inputs).unwrap().concat().into_iter().map(f32::to_bits).collect()
    };
    let last = case.inputs[0][lens[0] / images * (images - 1)..].to_vec();
    let mut alone = Case {
        label: String::new(),
        kernel: call.1(1),
        inputs: [vec![last], case.inputs[1..].to_vec()].concat(),
    };
    if let Some(residual) = alone.inputs.get_mut(3) {
        residual.drain(..residual.len() / images * (images - 1));
    }
    let (together, alone) = (bits(&case), bits(&alone));
    (together[together.len() - alone.len()..] != alone)
        .then(|| "the last image's bits depend on its batch".to_owned())
}

#[test]
fn random_convolutions_agree_with_their_definition_by_every_algorithm() {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let seeds = match number("SECATEUR_SHAPE") {
        Some(one) => one..one + 1,
        None => 0..number("SECATEUR_SHAPES").unwrap_or(150),
    };
    let mut devices = adapters::gpus("random convolutions by every algorithm");
    devices.push(Device::Cpu);
    let (mut tried, mut faults) = (0, Vec::new());
    for seed in seeds {
        let (images, call) = random(&mut Dice::new(seed));
        for device in &devices {
            let list = algorithms(&*call.1(images)).into_iter().map(|algorithm| algorithm.name);
            let list: Vec<&str> =
                std::iter::once("").chain(list.filter(|_| !matches!(device, Device::Cpu))).collect();
            for algorithm in list {
                tried += 1;
                if let Some(why) = wrong(images, &call, device, algorithm) {
                    faults.push(format!(
                        "{seed}: {} by \"{algorithm}\" on {}: {why}",
                        call.0,
                        device.describe().name
                    ));
                }
            }
        }
    }
    println!("{tried} calls");
    assert!(faults.is_empty(), "{} of {tried} wrong:\n{}", faults.len(), faults.join("\n"));
}
