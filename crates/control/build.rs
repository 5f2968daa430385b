//! Puts the console into the binary: the files that `npm run build` leaves in `console/dist`, each with
//! its compressed forms. Without them there is a binary all the same, which says how to get the console.
//! No Node.js is needed here.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Compressed forms lie beside each file, under its name and one of these.
const FORMS: [&str; 2] = ["br", "gz"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../console/dist");
    // Cargo looks into a folder for changes, and builds anew each time for one that is missing. What
    // cannot be made (a source tree that is only read) costs no more than that.
    let _ = fs::create_dir_all(&root);
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut found = Vec::new();
    collect(&root, &mut found)?;
    found.sort();
    let mut table = "&[\n".to_owned();
    for file in &found {
        writeln!(table, "    {},", entry(&root, file)?)?;
    }
    table.push(']');
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("console.rs"), table)?;
    Ok(())
}

/// The files that are served; `.vite` says only what belongs together.
fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let entry = entry?;
        let path = entry.path();
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        let compressed = path
            .extension()
            .is_some_and(|form| FORMS.iter().any(|known| form == *known));
        let kind = entry.file_type()?;
        if kind.is_dir() && !hidden {
            collect(&path, found)?;
        } else if kind.is_file() && !hidden && !compressed {
            found.push(path);
        }
    }
    Ok(())
}

/// A file as a value of `console::File`.
fn entry(root: &Path, file: &Path) -> Result<String, Box<dyn Error>> {
    let name = file
        .strip_prefix(root)?
        .to_str()
        .ok_or("a file of the console is not named in UTF-8")?;
    let text = file.to_str().ok_or("the folder of the console is not named in UTF-8")?;
    let forms = FORMS.map(|form| {
        let path = format!("{text}.{form}");
        match Path::new(&path).is_file() {
            true => format!("Some(include_bytes!({path:?}))"),
            false => "None".to_owned(),
        }
    });
    let [brotli, gzip] = forms;
    let path = format!("/{name}");
    Ok(format!(
        "File {{ path: {path:?}, plain: include_bytes!({text:?}), brotli: {brotli}, gzip: {gzip} }}"
    ))
}
