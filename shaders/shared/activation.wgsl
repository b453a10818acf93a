// Elementwise functions for the results of a kernel, numbered as in `Activation::code`. Comparisons replace max and
// min, which may drop NaN. Sigmoid and tanh only take the exponential of a negative number: the direct formulas
// overflow on some drivers.

override ACT: u32 = 0u;

fn clip(x: f32, low: f32, high: f32) -> f32 {
    let above = select(x, low, x < low);
    return select(above, high, above > high);
}

// The error function within 1.5e-7, by Abramowitz and Stegun, 7.1.26.
fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.3275911 * abs(x));
    let poly = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
    let y = 1.0 - poly * exp(-x * x);
    return select(y, -y, x < 0.0);
}

// Sum of the small and the large term, whose exponential never overflows.
fn softplus(x: f32) -> f32 {
    return select(0.0, x, x > 0.0) + log(1.0 + exp(-abs(x)));
}

fn hyperbolic(x: f32) -> f32 {
    let e = exp(-2.0 * abs(x));
    let y = (1.0 - e) / (1.0 + e);
    return select(y, -y, x < 0.0);
}

fn sigmoid(x: f32) -> f32 {
    let e = exp(-abs(x));
    return select(1.0, e, x < 0.0) / (1.0 + e);
}

fn activation(code: u32, x: f32, a: f32, b: f32) -> f32 {
    switch code {
        case 1u: { return select(x, 0.0, x < 0.0); }
        case 2u: { return select(x, a * x, x < 0.0); }
        case 3u: { return clip(x, a, b); }
        case 4u: { return sigmoid(x); }
        case 5u: { return hyperbolic(x); }
        case 6u: { return clip(a * x + b, 0.0, 1.0); }
        case 7u: { return x * clip(x * 0.16666667 + 0.5, 0.0, 1.0); }
        case 8u: { return exp(x); }
        case 9u: { return sqrt(x); }
        case 10u: { return abs(x); }
        case 11u: { return -x; }
        case 12u: { return floor(x); }
        case 13u: { return ceil(x); }
        case 14u: { return trunc(x); }
        case 15u: { return 1.0 / x; }
        case 16u: { return log(x); }
        case 17u: { return erf(x); }
        case 18u: { return select(0.0, 1.0, x == 0.0); }
        case 19u: { return select(x, a * (exp(x) - 1.0), x < 0.0); }
        case 20u: { return b * select(x, a * (exp(x) - 1.0), x < 0.0); }
        case 21u: { return select(x, a * (exp(x / a) - 1.0), x < 0.0); }
        case 22u: { return softplus(x); }
        case 23u: { return x / (1.0 + abs(x)); }
        case 24u: { return 0.5 * x * (1.0 + erf(x * 0.70710678)); }
        case 25u: { return 0.5 * x * (1.0 + hyperbolic(0.79788456 * (x + 0.044715 * x * x * x))); }
        case 26u: { return x * hyperbolic(softplus(x)); }
        case 27u: { return round(x); }
        case 28u: { return select(select(x, 1.0, x > 0.0), -1.0, x < 0.0); }
        case 29u: { return select(x, 0.0, x <= a); }
        case 30u: { return x * sigmoid(a * x); }
        case 31u: { return select(0.0, 1.0, is_true(x)); }
        default: { return x; }
    }
}

fn activate(x: f32, a: f32, b: f32) -> f32 {
    return activation(ACT, x, a, b);
}
