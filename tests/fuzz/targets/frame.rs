//! The first byte is the cap, the second says how many of the next bytes are the sizes of the chunks;
//! the rest is the stream.

use crate::oracle::frame;

pub(crate) fn run(data: &[u8]) {
    let [cap, count, rest @ ..] = data else { return };
    let (sizes, stream) = rest.split_at(rest.len().min(usize::from(count % 16)));
    let cuts: Vec<usize> = sizes.iter().map(|&size| usize::from(size)).collect();
    frame::check(stream, usize::from(*cap), &cuts);
}
