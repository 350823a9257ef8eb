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

/// A label of little-endian UTF-16 that ends at its first NUL or its last unit, without spaces at its end; `None` where
/// nothing is left.
pub fn utf16_label_text(label: &[u8]) -> Option<String> {
    let (units, _) = label.as_chunks::<2>();
    let units = units.iter().map(|unit| u16::from_le_bytes(*unit)).take_while(|unit| *unit != 0);
    let text: String = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    let text = text.trim_end();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_utf_16() {
        let bytes = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        assert_eq!(utf16_label_text(&bytes("蘇生 💾 \0rest")), Some("蘇生 💾".to_owned()));
        assert_eq!(utf16_label_text(&[0x00, 0xD8, b'a', 0]), Some("\u{FFFD}a".to_owned()));
        assert_eq!(utf16_label_text(&bytes("  ")), None);
    }

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
