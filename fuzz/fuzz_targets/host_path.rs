//! Hosts and paths: one spelling in the table, and rules that cover every spelling.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_ingress::fuzzing::host_and_path(bytes));
