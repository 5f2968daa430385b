//! The archive that is pushed or uploaded: nothing in it leads out of it, nothing is larger than allowed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_build::{Source, SourceEntry, SourceLimits};

const LIMITS: SourceLimits = SourceLimits {
    entries: 100,
    file_bytes: 64 << 10,
    total_bytes: 256 << 10,
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(source) = Source::from_tar(bytes, &LIMITS, &std::env::temp_dir()) else {
        return;
    };
    let (mut entries, mut total) = (0, 0);
    for (path, entry) in source.entries() {
        assert!(!path.starts_with('/') && path.split('/').all(|part| part != ".." && !part.is_empty()), "{path:?}");
        entries += 1;
        match entry {
            SourceEntry::File { bytes, .. } => {
                total += bytes;
                let read = source.read(path, 64 << 10);
                assert_eq!(read.map(|read| read.len() as u64), Some(*bytes), "{path:?}");
            }
            SourceEntry::Link { target } => assert!(!target.starts_with('/'), "{target:?}"),
            SourceEntry::Folder => {}
        }
    }
    assert!(entries <= LIMITS.entries && total <= LIMITS.total_bytes);
});
