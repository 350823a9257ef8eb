//! JSON documents that carry their own digest, so that one flipped byte anywhere is noticed and a
//! person can still read and a program still parse them.
//!
//! The first member is `"blake3"`: the BLAKE3 of all bytes of the file, with these 64 digits
//! written as zeros.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

const PREFIX: &[u8] = b"{\n  \"blake3\": \"";
const DIGITS: usize = 64;

#[derive(Serialize)]
struct Sealed<'a, T> {
    blake3: &'a str,
    #[serde(flatten)]
    document: &'a T,
}

/// The document as bytes with its digest. `T` must be a struct or map.
pub fn seal<T: Serialize>(path: &str, document: &T) -> Result<Vec<u8>> {
    let zeros = "0".repeat(DIGITS);
    let mut bytes = serde_json::to_vec_pretty(&Sealed { blake3: &zeros, document })
        .map_err(|error| Error::corrupt(path, 0, "a document that JSON can hold", error.to_string()))?;
    bytes.push(b'\n');
    let digest = blake3::hash(&bytes).to_hex();
    if let Some(place) = bytes.get_mut(digits_range()) {
        place.copy_from_slice(digest.as_bytes());
    }
    Ok(bytes)
}

/// The document of `bytes`, where the digest is right.
pub fn unseal<T: DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T> {
    let digits = bytes.get(digits_range()).unwrap_or_default().to_vec();
    if !bytes.starts_with(PREFIX) || digits.len() != DIGITS {
        let start: String = String::from_utf8_lossy(bytes.get(..bytes.len().min(24)).unwrap_or_default()).into();
        return Err(Error::corrupt(path, 0, "a document that begins with its digest", format!("{start:?}")));
    }
    let mut blank = bytes.to_vec();
    if let Some(place) = blank.get_mut(digits_range()) {
        place.fill(b'0');
    }
    let digest = blake3::hash(&blank).to_hex();
    if digest.as_bytes() != digits.as_slice() {
        return Err(Error::corrupt(path, 0, format!("digest {}", String::from_utf8_lossy(&digits)), digest.as_str()));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let position = format!("line {}, column {}", error.line(), error.column());
        Error::corrupt(path, 0, "a document of this version", format!("{error} ({position})"))
    })
}

fn digits_range() -> std::ops::Range<usize> {
    PREFIX.len()..PREFIX.len().saturating_add(DIGITS)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Sample {
        name: String,
        values: Vec<u64>,
    }

    #[test]
    fn a_document_survives_and_any_flipped_bit_is_noticed() {
        let sample = Sample { name: "節点 A".into(), values: vec![1, u64::MAX] };
        let bytes = seal("x.json", &sample).unwrap();
        assert_eq!(unseal::<Sample>("x.json", &bytes).unwrap(), sample);
        for position in 0..bytes.len() {
            for bit in 0..8 {
                let mut bent = bytes.clone();
                bent[position] ^= 1 << bit;
                assert!(unseal::<Sample>("x.json", &bent).unwrap_err().is_damage(), "byte {position} bit {bit}");
            }
        }
        for length in 0..bytes.len() {
            assert!(unseal::<Sample>("x.json", &bytes[..length]).is_err(), "cut to {length}");
        }
    }
}
