//! Files of a repository with right digests and any content. What must hold is in `tests::fuzz_image`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| tests::fuzz_image::check(input));
