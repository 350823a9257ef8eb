//! Identities of file systems in the spelling of blkid.

/// A UUID as blkid prints it; `None` for the nil UUID.
pub fn uuid_text(uuid: &[u8; 16]) -> Option<String> {
    if uuid.iter().all(|byte| *byte == 0) {
        return None;
    }
    let digits = |from: usize, to: usize| -> String {
        uuid.get(from..to).unwrap_or_default().iter().map(|byte| format!("{byte:02x}")).collect()
    };
    Some([digits(0, 4), digits(4, 6), digits(6, 8), digits(8, 10), digits(10, 16)].join("-"))
}

/// A label that ends at its first NUL or its last byte, without spaces at its end; `None` where nothing is left.
pub fn label_text(label: &[u8]) -> Option<String> {
    let bytes = label.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_end_at_a_nul_or_at_their_last_byte() {
        assert_eq!(label_text(b"root\0rest"), Some("root".to_owned()));
        assert_eq!(label_text(b"sixteen bytes ok"), Some("sixteen bytes ok".to_owned()));
        assert_eq!(label_text(b"padded   "), Some("padded".to_owned()));
        assert_eq!(label_text(b"\0\0"), None);
    }

    #[test]
    fn the_nil_uuid_is_none() {
        assert_eq!(uuid_text(&[0; 16]), None);
        assert_eq!(uuid_text(&[0xAB; 16]), Some("abababab-abab-abab-abab-abababababab".to_owned()));
    }
}
