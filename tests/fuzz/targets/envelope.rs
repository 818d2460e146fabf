//! The data is a line.

use crate::oracle::{envelope, message};

pub(crate) fn run(data: &[u8]) {
    envelope::check(data);
    message::check(data);
}
