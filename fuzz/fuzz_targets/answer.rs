//! What an instance answers: it is read alike in whatever pieces it comes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_ingress::fuzzing::answer(bytes));
