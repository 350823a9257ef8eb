//! MD5 of a short message: what blkid makes the UUID of a volume of.
//!
//! Source: RFC 1321.

const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
/// The longest message that fits into one block with its padding.
const LONGEST: usize = 55;
const START: [u32; 4] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476];

/// The digest of at most 55 bytes; longer messages are cut.
pub fn digest(message: &[u8]) -> [u8; 16] {
    let message = message.get(..LONGEST).unwrap_or(message);
    let mut block = [0_u8; 64];
    block.iter_mut().zip(message.iter().chain([&0x80])).for_each(|(to, from)| *to = *from);
    let bits = u64::try_from(message.len()).unwrap_or_default().saturating_mul(8);
    block.iter_mut().skip(56).zip(bits.to_le_bytes()).for_each(|(to, from)| *to = from);
    let mut words = [0_u32; 16];
    for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = u32::from_le_bytes(bytes.first_chunk().copied().unwrap_or_default());
    }
    let [mut a, mut b, mut c, mut d] = START;
    for (step, sine) in (0_usize..64).zip(sines()) {
        let (mixed, index) = match step / 16 {
            0 => ((b & c) | (!b & d), step),
            1 => ((d & b) | (!d & c), step.wrapping_mul(5).wrapping_add(1)),
            2 => (b ^ c ^ d, step.wrapping_mul(3).wrapping_add(5)),
            _ => (c ^ (b | !d), step.wrapping_mul(7)),
        };
        let word = words.get(index % 16).copied().unwrap_or_default();
        let shift = SHIFTS.get(step / 16).and_then(|round| round.get(step % 4)).copied().unwrap_or_default();
        let sum = a.wrapping_add(mixed).wrapping_add(sine).wrapping_add(word);
        (a, d, c, b) = (d, c, b, b.wrapping_add(sum.rotate_left(shift)));
    }
    let mut digest = [0; 16];
    let words = START.into_iter().zip([a, b, c, d]).map(|(start, word)| start.wrapping_add(word).to_le_bytes());
    digest.iter_mut().zip(words.flatten()).for_each(|(to, from)| *to = from);
    digest
}

/// The integer part of 2^32 times the absolute value of the sine of 1, 2, … 64.
const fn sines() -> [u32; 64] {
    [
        0xd76a_a478,
        0xe8c7_b756,
        0x2420_70db,
        0xc1bd_ceee,
        0xf57c_0faf,
        0x4787_c62a,
        0xa830_4613,
        0xfd46_9501,
        0x6980_98d8,
        0x8b44_f7af,
        0xffff_5bb1,
        0x895c_d7be,
        0x6b90_1122,
        0xfd98_7193,
        0xa679_438e,
        0x49b4_0821,
        0xf61e_2562,
        0xc040_b340,
        0x265e_5a51,
        0xe9b6_c7aa,
        0xd62f_105d,
        0x0244_1453,
        0xd8a1_e681,
        0xe7d3_fbc8,
        0x21e1_cde6,
        0xc337_07d6,
        0xf4d5_0d87,
        0x455a_14ed,
        0xa9e3_e905,
        0xfcef_a3f8,
        0x676f_02d9,
        0x8d2a_4c8a,
        0xfffa_3942,
        0x8771_f681,
        0x6d9d_6122,
        0xfde5_380c,
        0xa4be_ea44,
        0x4bde_cfa9,
        0xf6bb_4b60,
        0xbebf_bc70,
        0x289b_7ec6,
        0xeaa1_27fa,
        0xd4ef_3085,
        0x0488_1d05,
        0xd9d4_d039,
        0xe6db_99e5,
        0x1fa2_7cf8,
        0xc4ac_5665,
        0xf429_2244,
        0x432a_ff97,
        0xab94_23a7,
        0xfc93_a039,
        0x655b_59c3,
        0x8f0c_cc92,
        0xffef_f47d,
        0x8584_5dd1,
        0x6fa8_7e4f,
        0xfe2c_e6e0,
        0xa301_4314,
        0x4e08_11a1,
        0xf753_7e82,
        0xbd3a_f235,
        0x2ad7_d2bb,
        0xeb86_d391,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_rfc() {
        let hex =
            |message: &str| digest(message.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(hex("abc"), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(hex("abcdefghijklmnopqrstuvwxyz"), "c3fcd3d76192e4007dfb496cca67e13b");
    }

    #[test]
    fn the_constants_are_sines() {
        for (number, sine) in (1_u32..).zip(sines()) {
            assert_eq!((f64::from(number).sin().abs() * 4_294_967_296.0) as u32, sine, "{number}");
        }
    }
}
