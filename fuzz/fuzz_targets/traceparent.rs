//! Names that requests come with: what goes on is sound.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_ingress::fuzzing::names(bytes));
