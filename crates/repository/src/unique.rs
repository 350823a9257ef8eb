//! Names that nobody else uses.

use std::time::{SystemTime, UNIX_EPOCH};

/// 16 digits that no other file has in its name.
pub fn unique() -> String {
    let mut random = [0_u8; 8];
    // Without random numbers the process and the time still tell names apart.
    if getrandom::fill(&mut random).is_err() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mixed = now.as_nanos().rotate_left(32) ^ u128::from(std::process::id());
        random = u64::try_from(mixed & u128::from(u64::MAX)).unwrap_or_default().to_le_bytes();
    }
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_the_same() {
        let (first, second) = (unique(), unique());
        assert_ne!(first, second);
        assert!(first.len() == 16 && first.bytes().all(|byte| byte.is_ascii_hexdigit()), "{first}");
    }
}
