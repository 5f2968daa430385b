//! `weir.toml` and `Procfile`: whatever is pushed is either read or refused with words.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_model::AppName;
use weir_model::files::{Detected, Procfile, ProjectFile};

fuzz_target!(|bytes: &[u8]| {
    let _ = Procfile::parse(bytes, "Procfile");
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match ProjectFile::parse(text) {
        Ok(file) => {
            let project = AppName::new("shop").expect("a name");
            for (name, app) in file.apps(&project) {
                if let Err(problems) = app.spec(name, &Detected::default()) {
                    assert!(!problems.is_empty(), "refused without a word");
                }
            }
        }
        Err(problems) => assert!(!problems.problems.is_empty(), "refused without a word"),
    }
});
