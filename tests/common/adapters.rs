//! The adapters that tests run on, and words that are heard where there are none.

use std::io::Write as _;

use secateur::exec::devices::{self, Device, DeviceChoice};

/// Says what a test leaves out, also where it passes: `eprintln!` would be captured and thrown away.
pub(crate) fn left_out(what: &str) {
    // A closed stderr has no reader to tell.
    let _ = writeln!(std::io::stderr(), "LEFT OUT: {what}");
}

/// Every adapter here. Where there is none, this says what that leaves out, or fails if one is required.
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
