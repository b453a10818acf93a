//! Fuzz target: any profile is either read, and survives a round trip, or is refused with an error.

#![no_main]

mod file;

use libfuzzer_sys::fuzz_target;
use secateur::stats::Profile;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(profile) = Profile::load(&file::of("a.profile", bytes)) {
        profile.columns();
        let path = file::of("b.profile", &[]);
        profile.save(&path).expect("what was read is written");
        Profile::load(&path).expect("what was written is read");
    }
});
