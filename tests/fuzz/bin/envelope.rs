#![no_main]

#[path = "../../oracle/mod.rs"]
mod oracle;
#[path = "../targets/envelope.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
