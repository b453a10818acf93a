//! Random convolutions, down every way of every adapter here and on the host, against their `f64` definition; and an
//! image's bits by itself against those that it gets in company.
//!
//! SECATEUR_SHAPES says how many (150 by default), SECATEUR_SHAPE names one to look at.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::sync::Arc;

use half::f16;
use secateur::exec::devices::Device;
use secateur::kernels::activation::Activation;
use secateur::kernels::algorithms::algorithms;
use secateur::kernels::conv::Conv;
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

use calls::{expected, judge, judge_halves, noise, one_step};
use dice::Dice;

/// The most products of a case: the definition is slow.
const MOST: usize = 1 << 21;

impl Dice {
    /// One of these.
    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.roll(all.len())]
    }

    fn channels(&mut self) -> usize {
        let most = self.of(&[4, 20, 70, 140]);
        1 + self.roll(most)
    }

    /// What windows do along an axis: of in, out, kernel, stride, dilation, pad.
    fn axis(&mut self, kernel: usize, stride: usize) -> [usize; 6] {
        let dilation = if self.roll(6) == 0 { 2 } else { 1 };
        let reach = (kernel - 1) * dilation + 1;
        let pad = self.of(&[kernel / 2, kernel / 2, 0, 3]);
        let most = self.of(&[3, 9, 30]);
        let input = reach.saturating_sub(pad).max(1) + self.roll(most);
        // Zeros behind the last row are as many as before the first, or none.
        let behind = if self.roll(3) == 0 { 0 } else { pad };
        let all = (input + pad + behind).max(reach);
        [input, (all - reach) / stride + 1, kernel, stride, dilation, pad]
    }
}

/// A call of so many images, and its name.
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
    let one = Conv {
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
    let call = move |batch| Arc::new(Conv { batch, ..one.clone() }) as Arc<dyn Kernel>;
    (images, (format!("{:?}", call(images)), Box::new(call)))
}

/// What is wrong with a call on a device by a way, if anything.
fn wrong(images: usize, call: &Call, device: &Device, way: &str) -> Option<String> {
    let kernel = call.1(images);
    let lens = kernel.input_lens();
    let mut inputs: Vec<Vec<f32>> = lens.iter().zip(1..).map(|(&len, seed)| noise(len, seed)).collect();
    // Sums of any length are about as large as what clamps bound them to: errors are judged by what comes out.
    let length = (lens[1] / lens[2]) as f32;
    inputs[1].iter_mut().for_each(|w| *w /= length.sqrt());
    // Halves hold them exactly.
    let exact = |x: &mut f32| *x = f16::from_f32(*x).to_f32();
    inputs
        .iter_mut()
        .enumerate()
        .filter(|(i, _)| *i != 2)
        .for_each(|(_, data)| data.iter_mut().for_each(exact));
    let case = Case { label: call.0.clone(), kernel, inputs };
    let expected = expected(&case);
    if let Some(why) = judge(&case, device, &expected, way) {
        return Some(why);
    }
    if device.clone().at(Precision::F16).is_ok()
        && let Some(why) = judge_halves(&case, device, &expected, way)
    {
        return Some(format!("in halves: {why}"));
    }
    let bits = |case: &Case| -> Vec<u32> {
        let (plan, inputs) = one_step(case, way);
        let mut executor = device.load_by(&plan, way, true).unwrap();
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
        .then(|| "the last image's bits depend on its company".to_owned())
}

#[test]
fn random_convolutions_agree_with_their_definition_by_every_way() {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let seeds = match number("SECATEUR_SHAPE") {
        Some(one) => one..one + 1,
        None => 0..number("SECATEUR_SHAPES").unwrap_or(150),
    };
    let mut devices = adapters::gpus("random convolutions by every way");
    devices.push(Device::Cpu);
    let (mut tried, mut faults) = (0, Vec::new());
    for seed in seeds {
        let (images, call) = random(&mut Dice::new(seed));
        for device in &devices {
            let ways = algorithms(&*call.1(images)).into_iter().map(|way| way.name);
            let ways: Vec<&str> =
                std::iter::once("").chain(ways.filter(|_| !matches!(device, Device::Cpu))).collect();
            for way in ways {
                tried += 1;
                if let Some(why) = wrong(images, &call, device, way) {
                    faults.push(format!(
                        "{seed}: {} by \"{way}\" on {}: {why}",
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
