//! Elementwise functions that every arithmetic kernel can apply to its results.
//!
//! A fused activation saves a launch and a pass over memory. All functions but those that return
//! truth values propagate NaN, so that errors in a network stay visible; the code uses comparisons because
//! `max` drops NaN.

use pulp::{Simd, WithSimd};

use crate::kernels::host::vectors;
use crate::kernels::instructions;

/// An elementwise function `y = f(x)`, as ONNX defines it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// The identity function, `y = x`.
    None,
    /// The rectified linear unit, `max(0, x)`.
    Relu,
    /// `x` if not negative, else `alpha·x`.
    LeakyRelu(f32),
    /// Limits to a range, `min(max(x, low), high)`.
    Clip(f32, f32),
    /// The logistic function, `1 / (1 + e^-x)`.
    Sigmoid,
    /// The hyperbolic tangent, `tanh x`.
    Tanh,
    /// `min(max(alpha·x + beta, 0), 1)`, with the parameters alpha and beta.
    HardSigmoid(f32, f32),
    /// The hard swish, `x · min(max(x/6 + 1/2, 0), 1)`.
    HardSwish,
    /// The exponential function, `e^x`.
    Exp,
    /// The square root, `√x`.
    Sqrt,
    /// The absolute value, `|x|`.
    Abs,
    /// The negative value, `-x`.
    Neg,
    /// Rounds toward minus infinity.
    Floor,
    /// Rounds toward plus infinity.
    Ceil,
    /// Rounds each element toward zero.
    Trunc,
    /// The reciprocal value, `1/x`.
    Reciprocal,
    /// The natural logarithm of `x`.
    Log,
    /// The error function, `2/√π ∫₀ˣ e^(-t²) dt`.
    Erf,
    /// 1 if `x` is zero, else 0.
    Not,
    /// `x` if not negative, else `alpha·(e^x - 1)`.
    Elu(f32),
    /// `gamma·x` if positive, else `gamma·alpha·(e^x - 1)`, with the parameters alpha and gamma.
    Selu(f32, f32),
    /// The continuous ELU, `max(0, x) + min(0, alpha·(e^(x/alpha) - 1))`.
    Celu(f32),
    /// A smooth rectifier, `ln(1 + e^x)`.
    Softplus,
    /// The softsign function, `x / (1 + |x|)`.
    Softsign,
    /// The exact GELU, `x/2 · (1 + erf(x/√2))`.
    Gelu,
    /// The approximate GELU, `x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³)))`.
    GeluTanh,
    /// The mish function, `x · tanh(ln(1 + e^x))`.
    Mish,
    /// Rounds to the nearest integer, ties to even.
    Round,
    /// The sign: -1, 0 or 1.
    Sign,
    /// `x` if above alpha, else 0.
    ThresholdedRelu(f32),
    /// The swish function, `x / (1 + e^(-alpha·x))`.
    Swish(f32),
    /// 1 if `x` is not zero, else 0.
    Truth,
    /// The sine of `x` radians.
    Sin,
    /// The cosine of `x` radians.
    Cos,
    /// The tangent of `x` radians.
    Tan,
    /// The inverse sine, in radians; NaN beyond ±1.
    Asin,
    /// The inverse cosine, in radians; NaN beyond ±1.
    Acos,
    /// The inverse tangent, in radians.
    Atan,
    /// The hyperbolic sine, `(e^x - e^-x) / 2`.
    Sinh,
    /// The hyperbolic cosine, `(e^x + e^-x) / 2`.
    Cosh,
    /// The inverse hyperbolic sine.
    Asinh,
    /// The inverse hyperbolic cosine; NaN below 1.
    Acosh,
    /// The inverse hyperbolic tangent; NaN beyond ±1.
    Atanh,
    /// `x + bias` below -lambda, `x - bias` above lambda, else 0, with the parameters lambda and bias.
    Shrink(f32, f32),
    /// 1 if `x` is NaN, else 0.
    IsNan,
    /// 1 if `x` is plus infinity and the first parameter is 1, or minus infinity and the second is 1.
    IsInf(f32, f32),
    /// The nearest integer to `x/scale`, ties to even, plus zero, limited to 0 … 255.
    QuantizeU8(f32, f32),
    /// The nearest integer to `x/scale`, ties to even, plus zero, limited to -128 … 127.
    QuantizeI8(f32, f32),
    /// `(x - zero)·scale`, with the parameters scale and zero.
    Dequantize(f32, f32),
}

impl Activation {
    /// One of each kind for tests, with parameters other than the defaults.
    pub const SAMPLES: [Self; 49] = [
        Self::None,
        Self::Relu,
        Self::LeakyRelu(0.125),
        Self::Clip(-0.25, 0.5),
        Self::Sigmoid,
        Self::Tanh,
        Self::HardSigmoid(0.3, 0.6),
        Self::HardSwish,
        Self::Exp,
        Self::Sqrt,
        Self::Abs,
        Self::Neg,
        Self::Floor,
        Self::Ceil,
        Self::Trunc,
        Self::Reciprocal,
        Self::Log,
        Self::Erf,
        Self::Not,
        Self::Elu(0.7),
        Self::Selu(1.5, 1.1),
        Self::Celu(0.6),
        Self::Softplus,
        Self::Softsign,
        Self::Gelu,
        Self::GeluTanh,
        Self::Mish,
        Self::Round,
        Self::Sign,
        Self::ThresholdedRelu(0.4),
        Self::Swish(1.2),
        Self::Truth,
        Self::Sin,
        Self::Cos,
        Self::Tan,
        Self::Asin,
        Self::Acos,
        Self::Atan,
        Self::Sinh,
        Self::Cosh,
        Self::Asinh,
        Self::Acosh,
        Self::Atanh,
        Self::Shrink(0.6, 0.2),
        Self::IsNan,
        Self::IsInf(1.0, 0.0),
        Self::QuantizeU8(0.023_437_5, 7.0),
        Self::QuantizeI8(0.125, -5.0),
        Self::Dequantize(0.2, 0.6),
    ];

    /// Applies the function in `f64`, by its definition.
    pub fn apply_f64(self, x: f64) -> f64 {
        let clip = |x: f64, low: f64, high: f64| {
            let x = if x < low { low } else { x };
            if x > high { high } else { x }
        };
        match self {
            Self::None => x,
            Self::Relu if x < 0.0 => 0.0,
            Self::Relu => x,
            Self::LeakyRelu(alpha) if x < 0.0 => f64::from(alpha) * x,
            Self::LeakyRelu(_) => x,
            Self::Clip(low, high) => clip(x, low.into(), high.into()),
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Tanh => x.tanh(),
            Self::HardSigmoid(alpha, beta) => clip(f64::from(alpha) * x + f64::from(beta), 0.0, 1.0),
            Self::HardSwish => x * clip(x / 6.0 + 0.5, 0.0, 1.0),
            Self::Exp => x.exp(),
            Self::Sqrt => x.sqrt(),
            Self::Abs => x.abs(),
            Self::Neg => -x,
            Self::Floor => x.floor(),
            Self::Ceil => x.ceil(),
            Self::Trunc => x.trunc(),
            Self::Reciprocal => 1.0 / x,
            Self::Log => x.ln(),
            Self::Erf => erf(x),
            Self::Not => f64::from(x == 0.0),
            Self::Elu(alpha) if x < 0.0 => f64::from(alpha) * x.exp_m1(),
            Self::Elu(_) => x,
            Self::Selu(alpha, gamma) if x < 0.0 => f64::from(gamma) * f64::from(alpha) * x.exp_m1(),
            Self::Selu(_, gamma) => f64::from(gamma) * x,
            Self::Celu(alpha) if x < 0.0 => f64::from(alpha) * (x / f64::from(alpha)).exp_m1(),
            Self::Celu(_) => x,
            Self::Softplus => softplus(x),
            Self::Softsign => x / (1.0 + x.abs()),
            Self::Gelu => 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
            Self::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }
            Self::Mish => x * softplus(x).tanh(),
            Self::Round => x.round_ties_even(),
            Self::Sign if x == 0.0 || x.is_nan() => x,
            Self::Sign => x.signum(),
            Self::ThresholdedRelu(alpha) if x <= f64::from(alpha) => 0.0,
            Self::ThresholdedRelu(_) => x,
            Self::Swish(alpha) => x / (1.0 + (-f64::from(alpha) * x).exp()),
            Self::Truth => f64::from(x != 0.0),
            Self::Sin => x.sin(),
            Self::Cos => x.cos(),
            Self::Tan => x.tan(),
            Self::Asin => x.asin(),
            Self::Acos => x.acos(),
            Self::Atan => x.atan(),
            Self::Sinh => x.sinh(),
            Self::Cosh => x.cosh(),
            Self::Asinh => x.asinh(),
            Self::Acosh => x.acosh(),
            Self::Atanh => x.atanh(),
            Self::Shrink(lambda, _) if (-f64::from(lambda)..=lambda.into()).contains(&x) => 0.0,
            Self::Shrink(lambda, bias) if x < -f64::from(lambda) => x + f64::from(bias),
            Self::Shrink(_, bias) => x - f64::from(bias),
            Self::IsNan => f64::from(x.is_nan()),
            Self::IsInf(above, below) => {
                f64::from(x == f64::INFINITY && above != 0.0 || x == f64::NEG_INFINITY && below != 0.0)
            }
            Self::QuantizeU8(scale, zero) => {
                clip((x / f64::from(scale)).round_ties_even() + f64::from(zero), 0.0, 255.0)
            }
            Self::QuantizeI8(scale, zero) => {
                clip((x / f64::from(scale)).round_ties_even() + f64::from(zero), -128.0, 127.0)
            }
            Self::Dequantize(scale, zero) => (x - f64::from(zero)) * f64::from(scale),
        }
    }

    /// Applies the function in `f32`.
    pub fn apply_f32(self, x: f32) -> f32 {
        let mut one = [x];
        self.apply_slice(&mut one);
        one[0]
    }

    /// Applies the function to each element, in the longest vectors of the processor.
    pub fn apply_slice(self, xs: &mut [f32]) {
        struct Apply<'a>(Activation, &'a mut [f32]);
        impl WithSimd for Apply<'_> {
            type Output = ();

            #[inline(always)]
            fn with_simd<S: Simd>(self, _simd: S) {
                self.0.apply_any(self.1);
            }
        }
        if self != Self::None {
            instructions::arch().dispatch(Apply(self, xs));
        }
    }

    /// Applies the function while copying `xs` to `ys`. The common functions are compiled into the caller.
    #[inline(always)]
    pub(crate) fn apply_into(self, xs: &[f32], ys: &mut [f32]) {
        match self {
            Self::None => vectors::copy(xs, ys),
            Self::Relu => vectors::map(xs, ys, relu),
            Self::Clip(low, high) => vectors::map(xs, ys, |x| clip(x, low, high)),
            Self::QuantizeU8(scale, zero) => vectors::map(xs, ys, |x| quantize(x, scale, zero, U8)),
            Self::QuantizeI8(scale, zero) => vectors::map(xs, ys, |x| quantize(x, scale, zero, I8)),
            _ => {
                vectors::copy(xs, ys);
                self.apply_slice(ys);
            }
        }
    }

    #[inline(always)]
    fn apply_any(self, xs: &mut [f32]) {
        #[inline(always)]
        fn each(xs: &mut [f32], f: impl Fn(f32) -> f32) {
            xs.iter_mut().for_each(|x| *x = f(*x));
        }
        match self {
            Self::None => {}
            Self::Relu => each(xs, relu),
            Self::LeakyRelu(alpha) => each(xs, |x| if x < 0.0 { alpha * x } else { x }),
            Self::Clip(low, high) => each(xs, |x| clip(x, low, high)),
            Self::Sigmoid => each(xs, |x| 1.0 / (1.0 + exp(-x))),
            Self::Tanh => each(xs, tanh),
            Self::HardSigmoid(alpha, beta) => each(xs, |x| clip(alpha * x + beta, 0.0, 1.0)),
            Self::HardSwish => each(xs, |x| x * clip(x * (1.0 / 6.0) + 0.5, 0.0, 1.0)),
            Self::Exp => each(xs, exp),
            Self::Sqrt => each(xs, f32::sqrt),
            Self::Abs => each(xs, f32::abs),
            Self::Neg => each(xs, |x| -x),
            Self::Floor => each(xs, f32::floor),
            Self::Ceil => each(xs, f32::ceil),
            Self::Trunc => each(xs, f32::trunc),
            Self::Reciprocal => each(xs, |x| 1.0 / x),
            Self::Log => each(xs, f32::ln),
            Self::Erf => each(xs, erf_f32),
            Self::Gelu => {
                each(xs, |x| 0.5 * x * (1.0 + erf_f32(x * std::f32::consts::FRAC_1_SQRT_2)));
            }
            Self::GeluTanh => {
                each(xs, |x| 0.5 * x * (1.0 + tanh(0.797_884_6 * (x + 0.044_715 * x * x * x))));
            }
            Self::Not => each(xs, |x| f32::from(u8::from(x == 0.0))),
            Self::Truth => each(xs, |x| f32::from(u8::from(x != 0.0))),
            Self::Elu(alpha) => each(xs, |x| if x < 0.0 { alpha * (exp(x) - 1.0) } else { x }),
            Self::Softsign => each(xs, |x| x / (1.0 + x.abs())),
            Self::Swish(alpha) => each(xs, |x| x / (1.0 + exp(-alpha * x))),
            Self::Round => each(xs, f32::round_ties_even),
            Self::QuantizeU8(scale, zero) => each(xs, |x| quantize(x, scale, zero, U8)),
            Self::QuantizeI8(scale, zero) => each(xs, |x| quantize(x, scale, zero, I8)),
            Self::Dequantize(scale, zero) => each(xs, |x| (x - zero) * scale),
            // Rarer functions: their definition, rounded.
            _ => each(xs, |x| self.apply_f64(x.into()) as f32),
        }
    }

    /// Returns whether the function is monotonically non-decreasing to the last bit. The maximum of results is then
    /// the result of the maximum.
    pub fn rises(self) -> bool {
        match self {
            Self::None | Self::Relu | Self::Clip(..) => true,
            Self::LeakyRelu(alpha) => alpha >= 0.0,
            Self::QuantizeU8(scale, _) | Self::QuantizeI8(scale, _) | Self::Dequantize(scale, _) => {
                scale > 0.0
            }
            _ => false,
        }
    }

    /// Returns the function that equals this one followed by `next`, if it is one of these functions.
    ///
    /// A rounding to integers absorbs a rectifier or limits that its own limits contain.
    pub fn then(self, next: Self) -> Option<Self> {
        let (low, high) = match next {
            Self::QuantizeU8(..) => U8,
            Self::QuantizeI8(..) => I8,
            _ => return (self == Self::None).then_some(next),
        };
        let absorbed = match self {
            Self::None => true,
            Self::Relu => next.apply_f32(0.0) == low,
            Self::Clip(least, most) => {
                least <= most && next.apply_f32(least) == low && next.apply_f32(most) == high
            }
            _ => false,
        };
        (absorbed && next.rises()).then_some(next)
    }

    /// The function's number in `shaders/shared/activation.wgsl`.
    pub fn code(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Relu => 1,
            Self::LeakyRelu(_) => 2,
            Self::Clip(..) => 3,
            Self::Sigmoid => 4,
            Self::Tanh => 5,
            Self::HardSigmoid(..) => 6,
            Self::HardSwish => 7,
            Self::Exp => 8,
            Self::Sqrt => 9,
            Self::Abs => 10,
            Self::Neg => 11,
            Self::Floor => 12,
            Self::Ceil => 13,
            Self::Trunc => 14,
            Self::Reciprocal => 15,
            Self::Log => 16,
            Self::Erf => 17,
            Self::Not => 18,
            Self::Elu(_) => 19,
            Self::Selu(..) => 20,
            Self::Celu(_) => 21,
            Self::Softplus => 22,
            Self::Softsign => 23,
            Self::Gelu => 24,
            Self::GeluTanh => 25,
            Self::Mish => 26,
            Self::Round => 27,
            Self::Sign => 28,
            Self::ThresholdedRelu(_) => 29,
            Self::Swish(_) => 30,
            Self::Truth => 31,
            Self::Sin => 32,
            Self::Cos => 33,
            Self::Tan => 34,
            Self::Asin => 35,
            Self::Acos => 36,
            Self::Atan => 37,
            Self::Sinh => 38,
            Self::Cosh => 39,
            Self::Asinh => 40,
            Self::Acosh => 41,
            Self::Atanh => 42,
            Self::Shrink(..) => 43,
            Self::IsNan => 44,
            Self::IsInf(..) => 45,
            Self::QuantizeU8(..) => 46,
            Self::QuantizeI8(..) => 47,
            Self::Dequantize(..) => 48,
        }
    }

    /// The two parameters of the function, 0 for those that it lacks.
    pub fn params(self) -> [f32; 2] {
        match self {
            Self::LeakyRelu(alpha)
            | Self::Elu(alpha)
            | Self::Celu(alpha)
            | Self::ThresholdedRelu(alpha)
            | Self::Swish(alpha) => [alpha, 0.0],
            Self::Clip(a, b)
            | Self::HardSigmoid(a, b)
            | Self::Selu(a, b)
            | Self::Shrink(a, b)
            | Self::IsInf(a, b)
            | Self::QuantizeU8(a, b)
            | Self::QuantizeI8(a, b)
            | Self::Dequantize(a, b) => [a, b],
            _ => [0.0; 2],
        }
    }
}

/// Rectifies a number; propagates NaN.
#[inline(always)]
fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// Limits a number to a range; propagates NaN. If `low` is above `high`, returns `high`.
#[inline(always)]
fn clip(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// The least and the largest integer of 8 bits without a sign.
const U8: (f32, f32) = (0.0, 255.0);
/// The least and the largest integer of 8 bits with a sign.
const I8: (f32, f32) = (-128.0, 127.0);

/// Rounds a number to an integer of a range; propagates NaN.
#[inline(always)]
fn quantize(x: f32, scale: f32, zero: f32, (low, high): (f32, f32)) -> f32 {
    clip((x / scale).round_ties_even() + zero, low, high)
}

/// `e^x` to about a unit in the last place, in vectorizable steps: `x = n·ln 2 + r`, and a polynomial for `e^r`. The
/// standard library's function took half of a network's time.
#[inline]
pub(crate) fn exp(x: f32) -> f32 {
    use std::f32::consts::LOG2_E;
    // Adding this to a number leaves the nearest integer in the last bits.
    const ROUND: f32 = 12_582_912.0;
    const LN2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    // Beyond these bounds the result is infinite or zero. NaN stays.
    let x = x.clamp(-104.0, 89.0);
    let shifted = x * LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN2.0 - n * LN2.1;
    let series = 1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0)));
    let power = 1.0 + r + r * r * (0.5 + r * series);
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits()).cast_signed();
    // Two halves, because each must be a finite float.
    let half = |n: i32| f32::from_bits((n + 127).cast_unsigned() << 23);
    power * half(n >> 1) * half(n - (n >> 1))
}

/// The hyperbolic tangent, from the exponential of a negative number only.
#[inline]
pub(crate) fn tanh(x: f32) -> f32 {
    let e = exp(-2.0 * x.abs());
    let y = (1.0 - e) / (1.0 + e);
    if x < 0.0 { -y } else { y }
}

/// The error function within 1.5e-7, by Abramowitz and Stegun, 7.1.26, as in the shader.
#[inline]
fn erf_f32(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let poly =
        ((((1.061_405_4 * t - 1.453_152_1) * t + 1.421_413_8) * t - 0.284_496_74) * t + 0.254_829_6) * t;
    let y = 1.0 - poly * exp(-x * x);
    if x < 0.0 { -y } else { y }
}

/// `ln(1 + e^x)` without overflow of the exponential.
pub(crate) fn softplus(x: f64) -> f64 {
    let positive = if x > 0.0 { x } else { 0.0 };
    // The second term propagates NaN.
    positive + (-x.abs()).exp().ln_1p()
}

/// The error function by the series `2/√π · e^(-x²) · Σ 2ⁿ x^(2n+1) / (2n+1)!!`. All terms have one sign, so nothing
/// cancels.
fn erf(x: f64) -> f64 {
    // Beyond 6, 1 - |erf x| is less than half a unit in the last place of an `f64`.
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut n) = (x, x, 1.0);
    // NaN also ends the loop.
    while term.abs() > 1e-17 * sum.abs() {
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
        n += 1.0;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}
