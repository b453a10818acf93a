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

// The sine of x radians plus a number of quarter turns. Built-in functions are only accurate near 0: three parts of
// pi/2, of which the products with the first two are exact up to 8192 quarter turns, reduce x to -pi/4 .. pi/4.
fn sine(x: f32, quarters: f32) -> f32 {
    let n = round(x * 0.63661977);
    let r = ((x - n * 1.5703125) - n * 4.835128784e-4) - n * 3.139164786e-7;
    let q = r * r;
    let s = r * (1.0 - q * (0.16666667 - q * (0.0083333333 - q * (1.9841270e-4 - q * 2.7557319e-6))));
    let c = 1.0 - q * (0.5 - q * (0.041666667 - q * (0.0013888889 - q * (2.4801587e-5 - q * 2.7557319e-7))));
    let turned = n + quarters;
    let quadrant = turned - 4.0 * floor(turned * 0.25);
    let y = select(s, c, quadrant == 1.0 || quadrant == 3.0);
    return select(y, -y, quadrant >= 2.0);
}

// The inverse tangent: halved twice, after which five terms of the series suffice.
fn arctan(x: f32) -> f32 {
    let a = abs(x);
    let t = select(a, 1.0 / a, a > 1.0);
    let half = t / (1.0 + sqrt(1.0 + t * t));
    let quarter = half / (1.0 + sqrt(1.0 + half * half));
    let q = quarter * quarter;
    let y = 4.0 * quarter * (1.0 - q * (0.33333333 - q * (0.2 - q * (0.14285714 - q * 0.11111111))));
    let whole = select(y, 1.5707963 - y, a > 1.0);
    return select(whole, -whole, x < 0.0);
}

fn arccos(x: f32) -> f32 {
    let a = abs(x);
    let y = 2.0 * arctan(sqrt((1.0 - a) / (1.0 + a)));
    return select(y, 3.1415927 - y, x < 0.0);
}

// (exp(x) + sign * exp(-x)) / 2 for x >= 0. Built-in exponentials lose digits of large x, and overflow too early: x is
// reduced by n * ln 2 in two parts, the first exact.
fn half_sum(x: f32, sign: f32) -> f32 {
    let n = round(min(x, 89.5) * 1.4426950);
    let r = (x - n * 0.693359375) + n * 2.12194440e-4;
    let e = exp(r);
    let half = ldexp(e, i32(n) - 1);
    return half + sign * select(0.25 / half, 0.0, x > 40.0);
}

fn hyperbolic_sine(x: f32) -> f32 {
    let q = x * x;
    let near = x * (1.0 + q * (0.16666667 + q * (0.0083333333 + q * (1.9841270e-4 + q * 2.7557319e-6))));
    let y = half_sum(abs(x), -1.0);
    return select(near, select(y, -y, x < 0.0), abs(x) > 1.0);
}

// The logarithm of 1 + u for u >= 0, also where the sum would lose the digits of u.
fn log_one_more(u: f32) -> f32 {
    let s = u / (2.0 + u);
    let q = s * s;
    let near = 2.0 * s * (1.0 + q * (0.33333333 + q * (0.2 + q * (0.14285714 + q * 0.11111111))));
    return select(near, log(1.0 + u), u >= 0.5);
}

fn inverse_sinh(x: f32) -> f32 {
    let a = abs(x);
    let y = log_one_more(a + a * a / (1.0 + sqrt(a * a + 1.0)));
    let whole = select(y, log(a) + 0.69314718, a > 1e4);
    return select(whole, -whole, x < 0.0);
}

// Roots of negative numbers are NaN, as the results of the next two functions out of their domain.
fn inverse_cosh(x: f32) -> f32 {
    let u = x - 1.0;
    return select(log_one_more(u + sqrt(u) * sqrt(u + 2.0)), log(x) + 0.69314718, x > 1e4);
}

fn inverse_tanh(x: f32) -> f32 {
    let a = abs(x);
    let root = sqrt(1.0 - a);
    let y = 0.5 * log_one_more(2.0 * a / (root * root));
    return select(y, -y, x < 0.0);
}

fn shrink(x: f32, lambda: f32, bias: f32) -> f32 {
    let outside = select(x - bias, x + bias, x < -lambda);
    return select(outside, 0.0, x >= -lambda && x <= lambda);
}

fn is_infinite(x: f32, above: f32, below: f32) -> bool {
    let bits = bitcast<u32>(x);
    return (bits == 0x7f800000u && above != 0.0) || (bits == 0xff800000u && below != 0.0);
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
        case 32u: { return sine(x, 0.0); }
        case 33u: { return sine(x, 1.0); }
        case 34u: { return sine(x, 0.0) / sine(x, 1.0); }
        case 35u: { return 2.0 * arctan(x / (1.0 + sqrt((1.0 - x) * (1.0 + x)))); }
        case 36u: { return arccos(x); }
        case 37u: { return arctan(x); }
        case 38u: { return hyperbolic_sine(x); }
        case 39u: { return half_sum(abs(x), 1.0); }
        case 40u: { return inverse_sinh(x); }
        case 41u: { return inverse_cosh(x); }
        case 42u: { return inverse_tanh(x); }
        case 43u: { return shrink(x, a, b); }
        case 44u: { return select(0.0, 1.0, is_nan(x)); }
        case 45u: { return select(0.0, 1.0, is_infinite(x, a, b)); }
        case 46u: { return clip(round(x / a) + b, 0.0, 255.0); }
        case 47u: { return clip(round(x / a) + b, -128.0, 127.0); }
        case 48u: { return (x - b) * a; }
        default: { return x; }
    }
}

fn activate(x: f32, a: f32, b: f32) -> f32 {
    return activation(ACT, x, a, b);
}
