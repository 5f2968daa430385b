//! What clients write about themselves, before a trusted proxy adds its word: only that counts.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_ingress::fuzzing::forwarded(bytes));
