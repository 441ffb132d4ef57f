//! The fuzzer: gives bytes to the target that `FUZZ_TARGET` names. Started by `fuzz/run`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millstream_fuzz_targets::{Counting, Target, check, target};
use std::sync::OnceLock;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static TARGET: OnceLock<&Target> = OnceLock::new();

fuzz_target!(|bytes: &[u8]| {
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names the target");
        target(&name).unwrap_or_else(|| panic!("there is no target `{name}`"))
    });
    check(target, bytes);
});
