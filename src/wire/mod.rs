//! Knows how messages stand on the wire (PROTOCOL.md sections 1, 2 and 10): bytes into lines, lines
//! into fields, fields back into lines.
//! Never: what a message means or where it goes.

pub mod code;
pub mod control;
mod cursor;
pub mod envelope;
pub mod frame;
pub mod json;
mod marks;
pub mod message;
pub mod pointer;
pub mod rewrite;
