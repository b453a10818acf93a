//! Products of integers of 16 bits, of which a word holds two, for the microkernel.
//!
//! An instruction multiplies the pairs of all words of a vector and adds the two products of each. Sums are integers of
//! 32 bits and exact. Processors with AVX-512 VNNI add them to the sums with the same instruction: it needs half the time
//! of the products of as many floats.

use std::any::Any;

use bytemuck::{Pod, cast};
use pulp::{Arch, Simd, WithSimd};

use crate::kernels::gemm::microkernel::Arithmetic;

/// Words that are pairs of integers of 16 bits, and sums that are integers of 32 bits.
#[derive(Clone, Copy)]
pub(crate) struct Pairs;

/// Returns the word of two integers of 16 bits.
pub(crate) fn pair(low: i16, high: i16) -> f32 {
    f32::from_bits(u32::from(low.cast_unsigned()) | u32::from(high.cast_unsigned()) << 16)
}

#[cfg(target_arch = "x86_64")]
pulp::simd_type!({
    /// The instructions of AVX-512 with those for products of short integers.
    ///
    /// The compiler joins a product of pairs with the sum that follows, where it may use them.
    struct Vnni {
        avx512f: f!("avx512f"),
        avx512bw: f!("avx512bw"),
        avx512cd: f!("avx512cd"),
        avx512dq: f!("avx512dq"),
        avx512vl: f!("avx512vl"),
        avx512vnni: f!("avx512vnni"),
        fma: f!("fma"),
        avx2: f!("avx2"),
    }
});

/// Returns whether a processor adds products to sums in one instruction, so that pairs take half the time of floats.
pub(crate) fn are_fast(arch: Arch) -> bool {
    #[cfg(target_arch = "x86_64")]
    return matches!(arch, Arch::V4(_)) && Vnni::is_available();
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = arch;
        false
    }
}

/// Runs vectorized work with the instructions of `arch`, and those for products of short integers if there are any.
pub(crate) fn dispatch<W: WithSimd>(arch: Arch, work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    if let (Arch::V4(simd), Some(vnni)) = (arch, Vnni::try_new()) {
        return vnni.vectorize(
            #[inline(always)]
            || work.with_simd(simd),
        );
    }
    arch.dispatch(work)
}

impl Arithmetic for Pairs {
    #[inline(always)]
    fn add_product<S: Simd>(self, simd: S, weights: S::f32s, pixels: S::f32s, sums: S::f32s) -> S::f32s {
        // The compiler knows the type, so one of these branches remains.
        #[cfg(target_arch = "x86_64")]
        {
            let any: &dyn Any = &simd;
            if let Some(simd) = any.downcast_ref::<pulp::x86::V4>() {
                let products = simd.multiply_wrapping_add_adjacent_i16x32(cast(weights), cast(pixels));
                return cast(simd.wrapping_add_i32x16(cast(sums), products));
            }
            if let Some(simd) = any.downcast_ref::<pulp::x86::V3>() {
                let products = simd.multiply_wrapping_add_adjacent_i16x16(cast(weights), cast(pixels));
                return cast(simd.wrapping_add_i32x8(cast(sums), products));
            }
        }
        portable(weights, pixels, sums)
    }
}

/// Adds products of pairs word by word.
#[inline(always)]
fn portable<V: Pod>(weights: V, pixels: V, mut sums: V) -> V {
    let words = bytemuck::cast_slice_mut::<V, i32>(std::slice::from_mut(&mut sums));
    let weights = bytemuck::cast_slice::<V, i16>(std::slice::from_ref(&weights));
    let pixels = bytemuck::cast_slice::<V, i16>(std::slice::from_ref(&pixels));
    for (i, sum) in words.iter_mut().enumerate() {
        for at in [2 * i, 2 * i + 1] {
            *sum = sum.wrapping_add(i32::from(weights[at]) * i32::from(pixels[at]));
        }
    }
    sums
}
