//! Derivatives of the elementwise functions, for the gradients of calls.
//!
//! At a kink, the derivative is the one that PyTorch uses: 0 for `relu` and `|x|` at 0, 1 at the bounds of a clip.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};

use pulp::{Simd, WithSimd};

use crate::kernels::activation::{Activation, exp, softplus, tanh};
use crate::kernels::instructions;

impl Activation {
    /// Returns whether the function is piecewise constant, so that its derivative is 0.
    pub fn is_piecewise_constant(self) -> bool {
        matches!(
            self,
            Self::Floor
                | Self::Ceil
                | Self::Trunc
                | Self::Round
                | Self::Sign
                | Self::Not
                | Self::Truth
                | Self::IsNan
                | Self::IsInf(..)
                | Self::QuantizeU8(..)
                | Self::QuantizeI8(..)
        )
    }

    /// The derivative of the function in `f64`.
    pub fn derivative_f64(self, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let step = |below: bool, derivative: f64| if below { derivative } else { 1.0 };
        match self {
            Self::None => 1.0,
            Self::Relu => step(x <= 0.0, 0.0),
            Self::LeakyRelu(alpha) => step(x <= 0.0, alpha.into()),
            Self::Clip(low, high) => f64::from(x >= f64::from(low) && x <= f64::from(high)),
            Self::Sigmoid => sigmoid(x) * sigmoid(-x),
            Self::Tanh => x.cosh().powi(-2),
            Self::HardSigmoid(alpha, beta) => {
                let (alpha, y) = (f64::from(alpha), f64::from(alpha) * x + f64::from(beta));
                if y > 0.0 && y < 1.0 { alpha } else { 0.0 }
            }
            Self::HardSwish if x <= -3.0 => 0.0,
            Self::HardSwish => step(x < 3.0, x / 3.0 + 0.5),
            Self::Exp => x.exp(),
            Self::Sqrt => 0.5 / x.sqrt(),
            Self::Abs if x == 0.0 => 0.0,
            Self::Abs => x.signum(),
            Self::Neg => -1.0,
            Self::Reciprocal => -1.0 / (x * x),
            Self::Log => 1.0 / x,
            Self::Erf => FRAC_2_SQRT_PI * (-x * x).exp(),
            Self::Elu(alpha) => step(x <= 0.0, f64::from(alpha) * x.exp()),
            Self::Selu(alpha, gamma) => f64::from(gamma) * step(x <= 0.0, f64::from(alpha) * x.exp()),
            Self::Celu(alpha) => step(x <= 0.0, (x / f64::from(alpha)).exp()),
            Self::Softplus => sigmoid(x),
            Self::Softsign => (1.0 + x.abs()).powi(-2),
            Self::Gelu => {
                let density = 0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2 * (-0.5 * x * x).exp();
                0.5 * (1.0 + Self::Erf.apply_f64(x * FRAC_1_SQRT_2)) + x * density
            }
            Self::GeluTanh => {
                let scale = (2.0 / PI).sqrt();
                let t = (scale * (x + 0.044715 * x * x * x)).tanh();
                0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * scale * (1.0 + 3.0 * 0.044715 * x * x)
            }
            Self::Mish => {
                let t = softplus(x).tanh();
                t + x * (1.0 - t * t) * sigmoid(x)
            }
            Self::ThresholdedRelu(alpha) => step(x <= f64::from(alpha), 0.0),
            Self::Swish(alpha) => {
                let s = sigmoid(f64::from(alpha) * x);
                s + f64::from(alpha) * x * s * (1.0 - s)
            }
            Self::Sin => x.cos(),
            Self::Cos => -x.sin(),
            Self::Tan => 1.0 + x.tan().powi(2),
            Self::Asin => 1.0 / (1.0 - x * x).sqrt(),
            Self::Acos => -1.0 / (1.0 - x * x).sqrt(),
            Self::Atan => 1.0 / (1.0 + x * x),
            Self::Sinh => x.cosh(),
            Self::Cosh => x.sinh(),
            Self::Asinh => 1.0 / (x * x + 1.0).sqrt(),
            Self::Acosh => 1.0 / ((x - 1.0).sqrt() * (x + 1.0).sqrt()),
            Self::Atanh => 1.0 / ((1.0 - x) * (1.0 + x)),
            Self::Shrink(lambda, _) => step((-f64::from(lambda)..=lambda.into()).contains(&x), 0.0),
            Self::Floor
            | Self::Ceil
            | Self::Trunc
            | Self::Round
            | Self::Sign
            | Self::Not
            | Self::Truth
            | Self::IsNan
            | Self::IsInf(..)
            | Self::QuantizeU8(..)
            | Self::QuantizeI8(..) => 0.0,
            Self::Dequantize(scale, _) => scale.into(),
        }
    }

    /// Computes `gx = gy · f'(x)`, in the longest vectors of the processor.
    pub(crate) fn propagate_gradient(self, x: &[f32], gy: &[f32], gx: &mut [f32]) {
        struct Propagate<'a>(Activation, &'a [f32], &'a [f32], &'a mut [f32]);
        impl WithSimd for Propagate<'_> {
            type Output = ();

            #[inline(always)]
            fn with_simd<S: Simd>(self, _simd: S) {
                self.0.propagate_any(self.1, self.2, self.3);
            }
        }
        instructions::arch().dispatch(Propagate(self, x, gy, gx));
    }

    #[inline(always)]
    fn propagate_any(self, x: &[f32], gy: &[f32], gx: &mut [f32]) {
        #[inline(always)]
        fn each(x: &[f32], gy: &[f32], gx: &mut [f32], f: impl Fn(f32, f32) -> f32) {
            gx.iter_mut().zip(x).zip(gy).for_each(|((gx, &x), &gy)| *gx = f(x, gy));
        }
        #[inline(always)]
        fn sigmoid(x: f32) -> f32 {
            1.0 / (1.0 + exp(-x))
        }
        match self {
            Self::None => gx.copy_from_slice(gy),
            Self::Relu => each(x, gy, gx, |x, gy| if x <= 0.0 { 0.0 } else { gy }),
            Self::LeakyRelu(alpha) => each(x, gy, gx, |x, gy| if x <= 0.0 { alpha * gy } else { gy }),
            Self::Clip(low, high) => {
                each(x, gy, gx, |x, gy| if x >= low && x <= high { gy } else { 0.0 });
            }
            Self::Sigmoid => each(x, gy, gx, |x, gy| gy * sigmoid(x) * sigmoid(-x)),
            Self::Tanh => each(x, gy, gx, |x, gy| {
                let t = tanh(x);
                gy * (1.0 - t * t)
            }),
            Self::HardSigmoid(alpha, beta) => each(x, gy, gx, |x, gy| {
                let y = alpha * x + beta;
                if y > 0.0 && y < 1.0 { alpha * gy } else { 0.0 }
            }),
            Self::HardSwish => each(x, gy, gx, |x, gy| {
                let inner = gy * (x * (1.0 / 3.0) + 0.5);
                let within = if x < 3.0 { inner } else { gy };
                if x <= -3.0 { 0.0 } else { within }
            }),
            Self::Exp => each(x, gy, gx, |x, gy| gy * exp(x)),
            Self::Sqrt => each(x, gy, gx, |x, gy| gy * 0.5 / x.sqrt()),
            Self::Neg => each(x, gy, gx, |_, gy| -gy),
            Self::Reciprocal => each(x, gy, gx, |x, gy| -gy / (x * x)),
            Self::Log => each(x, gy, gx, |x, gy| gy / x),
            Self::Elu(alpha) => each(x, gy, gx, |x, gy| if x <= 0.0 { gy * alpha * exp(x) } else { gy }),
            Self::Softplus => each(x, gy, gx, |x, gy| gy * sigmoid(x)),
            Self::Swish(alpha) => each(x, gy, gx, |x, gy| {
                let s = sigmoid(alpha * x);
                gy * (s + alpha * x * s * (1.0 - s))
            }),
            // Rarer functions: their definition, rounded.
            _ => each(x, gy, gx, |x, gy| (f64::from(gy) * self.derivative_f64(x.into())) as f32),
        }
    }
}
