//! The headers of a request and of the answer to it, as the cache reads them: nothing is kept that must not be,
//! and no more is given than is kept.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| weir_ingress::fuzzing::cache_headers(bytes));
