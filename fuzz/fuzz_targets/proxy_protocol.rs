//! How a load balancer begins a connection: its header is read to the byte.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_ingress::fuzzing::proxy_header(bytes));
