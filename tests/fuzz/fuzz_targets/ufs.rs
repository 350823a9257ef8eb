//! Used bytes of UFS: patches over real samples. What must hold is in `tests::fuzz_bodies`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tests::fuzz_bodies::Subject;

static SUBJECT: LazyLock<Subject> = LazyLock::new(Subject::ufs);

fuzz_target!(|input: &[u8]| {
    SUBJECT.check(input);
});
