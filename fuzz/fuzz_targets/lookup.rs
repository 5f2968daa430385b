//! A name lookup as an instance sends it: there is an answer to it, or none, and never a crash.
#![no_main]

libfuzzer_sys::fuzz_target!(|query: &[u8]| weir_ingress::fuzzing::lookup(query));
