//! The adapters that tests run on, and notes about tests that have none.

use std::io::Write as _;

use secateur::exec::devices::{self, Device, DeviceChoice};

/// Prints what a test skips even if it passes; the harness would capture `eprintln!`.
pub(crate) fn left_out(what: &str) {
    // Writing fails only if stderr is closed.
    let _ = writeln!(std::io::stderr(), "LEFT OUT: {what}");
}

/// All adapters of this machine. Without any, prints what is skipped, or fails if SECATEUR_REQUIRE_GPU is set.
pub(crate) fn gpus(what: &str) -> Vec<Device> {
    let open = |index| devices::open(&DeviceChoice::Index(index)).expect("an adapter that is listed opens").0;
    let gpus: Vec<Device> = devices::list().iter().map(|info| open(info.index)).collect();
    if gpus.is_empty() {
        let required = std::env::var_os("SECATEUR_REQUIRE_GPU").is_some();
        assert!(!required, "SECATEUR_REQUIRE_GPU is set, and there is no GPU adapter");
        left_out(&format!("no GPU adapter, {what} ran nowhere"));
    }
    gpus
}
