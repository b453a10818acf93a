// Derivatives of the elementwise functions, numbered as in `Activation::code`.

fn bell(x: f32) -> f32 {
    return sigmoid(x) * sigmoid(-x);
}

fn derivative(code: u32, x: f32, a: f32, b: f32) -> f32 {
    switch code {
        case 0u: { return 1.0; }
        case 1u: { return select(1.0, 0.0, x <= 0.0); }
        case 2u: { return select(1.0, a, x <= 0.0); }
        case 3u: { return select(0.0, 1.0, x >= a && x <= b); }
        case 4u: { return bell(x); }
        case 5u: { return 4.0 * bell(2.0 * x); }
        case 6u: { return select(0.0, a, a * x + b > 0.0 && a * x + b < 1.0); }
        case 7u: { return select(select(1.0, x * 0.33333333 + 0.5, x < 3.0), 0.0, x <= -3.0); }
        case 8u: { return exp(x); }
        case 9u: { return 0.5 / sqrt(x); }
        case 10u: { return select(select(x, 1.0, x > 0.0), -1.0, x < 0.0); }
        case 11u: { return -1.0; }
        case 15u: { return -1.0 / (x * x); }
        case 16u: { return 1.0 / x; }
        case 17u: { return 1.1283792 * exp(-x * x); }
        case 19u: { return select(1.0, a * exp(x), x <= 0.0); }
        case 20u: { return b * select(1.0, a * exp(x), x <= 0.0); }
        case 21u: { return select(1.0, exp(x / a), x <= 0.0); }
        case 22u: { return sigmoid(x); }
        case 23u: { return 1.0 / ((1.0 + abs(x)) * (1.0 + abs(x))); }
        case 24u: { return 0.5 * (1.0 + erf(x * 0.70710678)) + x * 0.39894228 * exp(-0.5 * x * x); }
        case 25u: {
            let inner = 0.79788456 * (x + 0.044715 * x * x * x);
            let slope = 0.79788456 * (1.0 + 0.134145 * x * x);
            return 0.5 * (1.0 + hyperbolic(inner)) + 2.0 * x * bell(2.0 * inner) * slope;
        }
        case 26u: {
            let t = hyperbolic(softplus(x));
            return t + x * (1.0 - t * t) * sigmoid(x);
        }
        case 29u: { return select(1.0, 0.0, x <= a); }
        case 30u: { return sigmoid(a * x) + a * x * bell(a * x); }
        case 32u: { return sine(x, 1.0); }
        case 33u: { return -sine(x, 0.0); }
        case 34u: {
            let t = sine(x, 0.0) / sine(x, 1.0);
            return 1.0 + t * t;
        }
        case 35u: { return 1.0 / sqrt((1.0 - x) * (1.0 + x)); }
        case 36u: { return -1.0 / sqrt((1.0 - x) * (1.0 + x)); }
        case 37u: { return 1.0 / (1.0 + x * x); }
        case 38u: { return half_sum(abs(x), 1.0); }
        case 39u: { return hyperbolic_sine(x); }
        case 40u: { return 1.0 / sqrt(x * x + 1.0); }
        case 41u: { return 1.0 / (sqrt(x - 1.0) * sqrt(x + 1.0)); }
        case 42u: { return 1.0 / ((1.0 - x) * (1.0 + x)); }
        case 43u: { return select(1.0, 0.0, x >= -a && x <= a); }
        case 48u: { return a; }
        default: { return 0.0; }
    }
}
