//! Knows where in a line the next mark stands: a byte that ends a run of plain ones in a JSON string
//! (a quote, a backslash, or a control character, which has no place in one).
//! Never: what it means there.

use wide::u8x16;

/// Bytes that are looked at in one go: one bit each.
const BLOCK_BYTES: usize = 64;
/// A run of this length is likely to be a much longer one.
const LONG_BYTES: usize = 2 * BLOCK_BYTES;

/// The marks of the block of a line that was looked at last. Strings are short and stand close together:
/// most are found in a block that is there already.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Where the block begins.
    base: usize,
    /// The lowest bit is the byte at `base`. None behind the end of the line.
    bits: u64,
}

impl Marks {
    /// The place of the first mark from `at` on, or the end of `bytes`, which has to be the same line each
    /// time.
    #[inline(always)]
    pub(super) fn next(&mut self, bytes: &[u8], at: usize) -> usize {
        let passed = at.wrapping_sub(self.base);
        if passed < BLOCK_BYTES {
            let bits = self.bits >> passed;
            if bits != 0 {
                return at + bits.trailing_zeros() as usize;
            }
        }
        self.look_on(bytes, at)
    }

    /// Looks at block after block, the first one being behind the one that is there.
    #[inline(never)]
    fn look_on(&mut self, bytes: &[u8], at: usize) -> usize {
        let mut from = at;
        if self.bits != 0 && at.wrapping_sub(self.base) < BLOCK_BYTES {
            from = self.base + BLOCK_BYTES;
        }
        while from < bytes.len() {
            if from >= at + LONG_BYTES {
                return long_run(bytes, from);
            }
            (self.base, self.bits) = (from, block_at(bytes, from));
            if self.bits != 0 {
                return from + self.bits.trailing_zeros() as usize;
            }
            from += BLOCK_BYTES;
        }
        bytes.len()
    }
}

/// The first mark from `from` on, if it is likely to be far away.
fn long_run(bytes: &[u8], from: usize) -> usize {
    let rest = &bytes[from..];
    let run = &rest[..memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len())];
    // A fold over all bytes, without an early end, is one the compiler makes vectors of.
    let lowest = run.iter().fold(u8::MAX, |lowest, &byte| lowest.min(byte));
    let first_control = || run.iter().position(|&byte| byte < b' ').unwrap_or(run.len());
    from + if lowest < b' ' { first_control() } else { run.len() }
}

/// The marks of the block that begins at `from`, which is in `bytes`.
#[inline(always)]
fn block_at(bytes: &[u8], from: usize) -> u64 {
    if let Some(block) = bytes[from..].first_chunk() {
        return marks_of(block);
    }
    let rest = bytes.len() - from;
    // The last block of all, without what is in front of `from`.
    if let Some(block) = bytes.last_chunk() {
        return marks_of(block) >> (BLOCK_BYTES - rest);
    }
    let mut block = [b' '; BLOCK_BYTES];
    block[..rest].copy_from_slice(&bytes[from..]);
    marks_of(&block)
}

/// One bit for each byte of a block.
#[inline(always)]
fn marks_of(block: &[u8; BLOCK_BYTES]) -> u64 {
    let mut bits = 0;
    for (at, part) in block.as_chunks().0.iter().enumerate() {
        let bytes = u8x16::new(*part);
        let is_control = bytes.min(u8x16::splat(0x1f)).simd_eq(bytes);
        let marked = is_control | bytes.simd_eq(u8x16::splat(b'"')) | bytes.simd_eq(u8x16::splat(b'\\'));
        bits |= u64::from(marked.to_bitmask()) << (16 * at);
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_mark(byte: u8) -> bool {
        byte < b' ' || byte == b'"' || byte == b'\\'
    }

    #[test]
    fn marks_are_found_wherever_they_stand() {
        for length in 0..300 {
            assert_eq!(Marks::default().next(&vec![0x7f; length], 0), length);
            assert_eq!(Marks::default().next(&vec![0xff; length], 0), length);
            for at in 0..length {
                let mut bytes = vec![b'x'; length];
                bytes[at] = [0, 0x1f, b'"', b'\\'][at % 4];
                for from in [0, at / 2, at] {
                    assert_eq!(Marks::default().next(&bytes, from), at, "{length} {from}");
                }
                assert_eq!(Marks::default().next(&bytes, at + 1), length);
            }
        }
    }

    #[test]
    fn one_after_the_other_in_any_step() {
        let mut state = 7u32;
        let mut random = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        for _ in 0..2000 {
            let (length, rarity) = (random(400) as usize, 1 + random(200));
            let bytes: Vec<u8> = (0..length)
                .map(|_| if random(rarity) == 0 { random(256) as u8 } else { b'a' + random(26) as u8 })
                .collect();
            let (mut marks, mut at) = (Marks::default(), 0);
            while at < length {
                let next = marks.next(&bytes, at);
                let right = (at..length).find(|&at| is_mark(bytes[at])).unwrap_or(length);
                assert_eq!(next, right, "from {at} in {bytes:?}");
                at = next + 1 + random(3) as usize;
            }
        }
    }

    #[test]
    fn every_byte_in_every_place() {
        for byte in 0..=u8::MAX {
            for at in 0..BLOCK_BYTES {
                let mut block = [b'x'; BLOCK_BYTES];
                block[at] = byte;
                assert_eq!(marks_of(&block), u64::from(is_mark(byte)) << at, "{byte} at {at}");
            }
        }
        assert_eq!(marks_of(&[0; BLOCK_BYTES]), u64::MAX);
    }
}
