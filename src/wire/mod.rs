//! Knows how messages stand on the wire (PROTOCOL.md sections 1, 2 and 10): bytes into lines, lines
//! into fields, fields back into lines.
//! Never: what a message means or where it goes.

pub mod code;
#[doc(hidden)]
pub mod complaint;
#[doc(hidden)]
pub mod control;
mod cursor;
#[doc(hidden)]
pub mod envelope;
mod fields;
#[doc(hidden)]
pub mod frame;
#[doc(hidden)]
pub mod json;
mod marks;
pub mod message;
#[doc(hidden)]
pub mod pointer;
pub(crate) mod refuse;
#[doc(hidden)]
pub mod rewrite;
