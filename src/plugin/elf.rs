//! Knows whether the file of a library is all there, by its ELF header (elf(5)).
//! Never: where the file is from, or what the library is.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The part of a file that the loader maps.
const PT_LOAD: u64 = 1;

/// Where the fields of the two ELF classes are that are needed here: each by its offset and its length.
struct Layout {
    program_headers: (u64, usize),
    header_size: (u64, usize),
    header_count: (u64, usize),
    /// Of a program header.
    offset: (u64, usize),
    size_in_file: (u64, usize),
}

const LAYOUT_32: Layout = Layout {
    program_headers: (28, 4),
    header_size: (42, 2),
    header_count: (44, 2),
    offset: (4, 4),
    size_in_file: (16, 4),
};
const LAYOUT_64: Layout = Layout {
    program_headers: (32, 8),
    header_size: (54, 2),
    header_count: (56, 2),
    offset: (8, 8),
    size_in_file: (32, 8),
};

/// How many bytes the file must have at least, so that all is there that the loader maps: what is not there
/// kills the process that touches it (SIGBUS, mmap(2)). 0 for what is no ELF file of this machine's byte
/// order, which the loader refuses. An error for one that ends within its headers.
pub(super) fn size_needed(file: &File) -> io::Result<u64> {
    let read = |at: u64, length: usize| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes[..length], at)?;
        let number = u64::from_le_bytes(bytes);
        Ok::<u64, io::Error>(number)
    };
    let ident = read(0, 6)?.to_le_bytes();
    let layout = match (&ident[..4], ident[4], ident[5]) {
        (b"\x7fELF", 1, 1) => LAYOUT_32,
        (b"\x7fELF", 2, 1) => LAYOUT_64,
        _ => return Ok(0),
    };
    let field = |base: u64, (at, length): (u64, usize)| read(base.saturating_add(at), length);
    let first = field(0, layout.program_headers)?;
    let (size, count) = (field(0, layout.header_size)?, field(0, layout.header_count)?);
    let mut needed = 0;
    for nth in 0..count {
        let header = first.saturating_add(nth * size);
        if read(header, 4)? == PT_LOAD {
            let end = field(header, layout.offset)?.saturating_add(field(header, layout.size_in_file)?);
            needed = needed.max(end);
        }
    }
    Ok(needed)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn needed(bytes: &[u8]) -> io::Result<u64> {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("written");
        size_needed(&file)
    }

    #[test]
    fn what_is_mapped_must_be_there() {
        let whole = std::fs::read("/proc/self/exe").expect("this program");
        let size = needed(&whole).expect("a program");
        assert!((1..=whole.len() as u64).contains(&size), "{size}");
        for bytes in [0, 3, 5, 17, 63, 64, 100] {
            let told = needed(&whole[..bytes]).expect_err("no headers");
            assert_eq!(told.kind(), io::ErrorKind::UnexpectedEof, "{bytes}");
        }
        assert_eq!(needed(&whole[..4096]).expect("its headers"), size);
    }

    #[test]
    fn what_is_no_library_is_left_to_the_loader() {
        assert_eq!(needed(b"#!/bin/sh").ok(), Some(0));
        // Of the other byte order.
        assert_eq!(needed(b"\x7fELF\x02\x02").ok(), Some(0));
    }

    #[test]
    fn headers_that_are_nonsense_do_no_harm() {
        let mut nonsense = [0xff; 64];
        nonsense[..6].copy_from_slice(b"\x7fELF\x02\x01");
        assert!(needed(&nonsense).is_err());
        nonsense[4] = 1;
        assert!(needed(&nonsense).is_err());
        // The first program header is where the file begins.
        nonsense[32..40].fill(0);
        nonsense[4] = 2;
        assert!(needed(&nonsense).is_err());
    }
}
