//! Knows CRC-32 as zlib computes it and MD5 as RFC 1321 has it: what the balances place keys and servers by.
//! Never: what is placed.
//!
//! They are ours because two short functions cost less than two crates, and MD5 protects nothing here.

use std::sync::LazyLock;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let (mut crc, mut bit) = (at as u32, 0);
        while bit < 8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
            bit += 1;
        }
        table[at] = crc;
        at += 1;
    }
    table
};

/// CRC-32 of `bytes`, which goes on from `start`: 0, or what was before them.
pub(super) fn crc32(start: u32, bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!start, |crc, &byte| TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

/// The integer parts of 2³² times the sines of 1 to 64.
static SINES: LazyLock<[u32; 64]> =
    LazyLock::new(|| std::array::from_fn(|at| ((at as f64 + 1.0).sin().abs() * 4_294_967_296.0) as u32));
const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// MD5 of `bytes`, as four little-endian words.
pub(super) fn md5(bytes: &[u8]) -> [u32; 4] {
    let mut padded = bytes.to_vec();
    padded.push(0x80);
    padded.resize((bytes.len() + 9).next_multiple_of(64) - 8, 0);
    padded.extend((bytes.len() as u64 * 8).to_le_bytes());
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.chunks_exact(64) {
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| block[4 * at + byte]));
        let [mut a, mut b, mut c, mut d] = state;
        for at in 0..64 {
            let (mixed, place) = match at / 16 {
                0 => ((b & c) | (!b & d), at),
                1 => ((d & b) | (!d & c), 5 * at + 1),
                2 => (b ^ c ^ d, 3 * at + 5),
                _ => (c ^ (b | !d), 7 * at),
            };
            let sum = a.wrapping_add(mixed).wrapping_add(SINES[at]).wrapping_add(word(place % 16));
            (a, d, c) = (d, c, b);
            b = b.wrapping_add(sum.rotate_left(SHIFTS[at / 16][at % 4]));
        }
        for (sum, part) in state.iter_mut().zip([a, b, c, d]) {
            *sum = sum.wrapping_add(part);
        }
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_is_zlibs() {
        for (text, crc) in [("", 0), ("a", 0xe8b7_be43), ("hello world", 0x0d4a_1185), ("1000", 0xb427_a317)]
        {
            assert_eq!(crc32(0, text.as_bytes()), crc, "{text}");
        }
        assert_eq!(crc32(crc32(0, b"hello "), b"world"), 0x0d4a_1185);
    }

    #[test]
    fn md5_is_that_of_the_rfc() {
        for (text, digest) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ] {
            let bytes: Vec<u8> = md5(text.as_bytes()).iter().flat_map(|word| word.to_le_bytes()).collect();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, digest, "{text}");
        }
    }
}
