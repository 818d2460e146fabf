//! What lines, envelopes and messages have to be, worked out a second time and as plainly as possible:
//! with serde_json where it can judge, by a few lines of its own where it cannot. The properties and
//! the fuzz targets compare the library with this.

#![allow(dead_code, reason = "each of the crates that include this file uses a part of it")]

pub(crate) mod envelope;
pub(crate) mod frame;
pub(crate) mod message;
pub(crate) mod pointer;
pub(crate) mod rewrite;
