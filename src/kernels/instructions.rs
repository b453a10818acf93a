//! Choice of the instruction set of the host's kernels.

use std::sync::OnceLock;

use pulp::Arch;

use crate::error::{Error, Result};

/// Environment variable that restricts the instruction set.
const VARIABLE: &str = "SECATEUR_INSTRUCTIONS";

/// The instruction sets that this processor has, with their names, best first.
fn available() -> Vec<(&'static str, Arch)> {
    let mut sets = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        sets.extend(pulp::x86::V4::try_new().map(|simd| ("AVX-512", Arch::V4(simd))));
        sets.extend(pulp::x86::V3::try_new().map(|simd| ("AVX2", Arch::V3(simd))));
    }
    #[cfg(target_arch = "aarch64")]
    sets.extend(pulp::aarch64::Neon::try_new().map(|simd| ("NEON", Arch::Neon(simd))));
    sets.push(("portable", Arch::Scalar));
    sets
}

/// The set with the name in the environment, else the best one.
fn choice() -> Result<(&'static str, Arch)> {
    let sets = available();
    let Some(asked) = std::env::var_os(VARIABLE).filter(|asked| !asked.is_empty()) else {
        return Ok(sets[0]);
    };
    let asked = asked.to_string_lossy().into_owned();
    let plain = |name: &str| name.replace('-', "").to_lowercase();
    sets.iter().copied().find(|(name, _)| plain(name) == plain(&asked)).ok_or_else(|| {
        Error::new(format!("{VARIABLE} names no instruction set of this processor"))
            .expected("avx512, avx2 or neon, if the processor has it, or portable")
            .got(asked)
            .remedy(format!("unset {VARIABLE}"))
    })
}

fn chosen() -> &'static Result<(&'static str, Arch)> {
    static CHOSEN: OnceLock<Result<(&'static str, Arch)>> = OnceLock::new();
    CHOSEN.get_or_init(choice)
}

/// The instruction set that kernels use.
///
/// Executors are only created after [`name`] succeeded.
pub(crate) fn arch() -> Arch {
    chosen().as_ref().map_or_else(|_| Arch::new(), |(_, arch)| *arch)
}

/// Name of the instruction set that kernels use.
///
/// # Errors
/// A value of the environment variable that names no set of this processor.
pub(crate) fn name() -> Result<&'static str> {
    chosen().clone().map(|(name, _)| name)
}
