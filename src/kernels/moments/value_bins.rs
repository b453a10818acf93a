//! Bins of `f32` values by sign, exponent and leading mantissa bits.
//!
//! An octave, from one power of two to the next, has 64 bins of equal width. Edges are therefore exact in `f32` and
//! need no range in advance, and the bin of a value follows from its bits. Magnitudes from 2⁻³⁰ to 2³⁰ have bins of
//! their own. Smaller ones share a bin for each sign, and so do larger ones. Zeros have a bin for themselves;
//! subnormal numbers, which some devices replace by zero, count as zeros.

/// Mantissa bits that distinguish bins; an octave has two to the power of this number of bins.
pub const MANTISSA_BITS: u32 = 6;
/// Octaves that have bins of their own: magnitudes from 2⁻³⁰ to 2³⁰.
pub const OCTAVES: usize = 60;
/// Bins of each sign: small magnitudes, those of the octaves, and large magnitudes.
pub const SIDE: usize = (OCTAVES << MANTISSA_BITS) + 2;
/// The slot of zeros, behind those of positive and of negative values.
pub const ZEROS: usize = 2 * SIDE;
/// The slot of NaN.
pub const NAN: usize = ZEROS + 1;
/// The slot of +∞; that of −∞ follows.
pub const INFINITE: usize = ZEROS + 2;
/// Number of slots of a histogram.
pub const SLOTS: usize = ZEROS + 4;

/// Bits of an `f32` behind those that distinguish bins.
pub(crate) const SHIFT: u32 = f32::MANTISSA_DIGITS - 1 - MANTISSA_BITS;
/// Leading bits of 2⁻³⁰, the lower edge of the first octave.
pub(crate) const LOWEST: u32 = (127 - OCTAVES as u32 / 2) << MANTISSA_BITS;
/// Sign bit of an `f32`.
pub(crate) const SIGN: u32 = 1 << 31;
/// Bits of +∞; those of NaN are larger.
pub(crate) const INFINITY: u32 = 0x7f80_0000;
/// Bits of the smallest normal number.
pub(crate) const NORMAL: u32 = 1 << (f32::MANTISSA_DIGITS - 1);

/// Returns the slot of a value: positive values, then negative ones, each by magnitude, then the special slots.
pub fn slot(x: f32) -> usize {
    let magnitude = x.to_bits() & !SIGN;
    let negative = usize::from(x.to_bits() != magnitude);
    match magnitude {
        0..NORMAL => ZEROS,
        INFINITY => INFINITE + negative,
        larger if larger > INFINITY => NAN,
        _ => {
            let bin = (magnitude >> SHIFT).saturating_sub(LOWEST - 1) as usize;
            bin.min(SIDE - 1) + negative * SIDE
        }
    }
}

/// Returns the lower and the upper edge of bin `bin` of a sign, as magnitudes.
pub fn edges(bin: usize) -> [f64; 2] {
    let edge = |bin: usize| match bin {
        0 => 0.0,
        SIDE => f64::from(f32::MAX),
        _ => f64::from(f32::from_bits((LOWEST + bin as u32 - 1) << SHIFT)),
    };
    [edge(bin), edge(bin + 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_adjacent_and_hold_their_lower_edge() {
        assert_eq!(edges(1)[0], (-30f64).exp2());
        assert_eq!(edges(SIDE - 1)[0], 30f64.exp2());
        for bin in 1..SIDE {
            let [low, high] = edges(bin);
            assert_eq!(edges(bin - 1)[1], low);
            assert_eq!([slot(low as f32), slot(-low as f32)], [bin, SIDE + bin]);
            let below = f32::from_bits((high as f32).to_bits() - 1);
            assert_eq!([slot(below), slot(-below)], [bin, SIDE + bin]);
            assert!(bin == SIDE - 1 || high / low <= 1.0 + 1.0 / 64.0);
        }
    }

    #[test]
    fn special_values_have_slots_of_their_own() {
        let subnormal = f32::from_bits(NORMAL - 1);
        assert_eq!([0.0, -0.0, subnormal, -subnormal].map(slot), [ZEROS; 4]);
        assert_eq!([f32::MIN_POSITIVE, -f32::MIN_POSITIVE].map(slot), [0, SIDE]);
        assert_eq!([f32::MAX, f32::MIN].map(slot), [SIDE - 1, 2 * SIDE - 1]);
        assert_eq!([f32::INFINITY, f32::NEG_INFINITY].map(slot), [INFINITE, INFINITE + 1]);
        assert_eq!([f32::NAN, -f32::NAN, f32::from_bits(INFINITY + 1)].map(slot), [NAN; 3]);
    }
}
