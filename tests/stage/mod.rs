//! What the drivers of the transcripts in `tests/transcripts` share.

pub(crate) mod expect;
pub(crate) mod play;
pub(crate) mod transcript;
