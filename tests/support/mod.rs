//! What the drivers of the transcripts in `tests/transcripts` share.

pub mod expect;
pub mod stage;
pub mod transcript;
