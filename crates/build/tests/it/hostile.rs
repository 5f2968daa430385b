//! Archives that nobody sends by mistake.

use std::io::{Read, Write as _};

use tar::EntryType;
use weir_build::{Source, SourceError, SourceLimits};

use crate::support::{archive, plans, project, source};

fn read(archive: &[u8]) -> Result<Source, SourceError> {
    Source::from_tar(archive, &SourceLimits::default(), &std::env::temp_dir())
}

fn refused(archive: &[u8]) -> String {
    read(archive)
        .map(|_| panic!("it was accepted"))
        .unwrap_or_else(|error| error.to_string())
}

/// One entry with a name that the tar library would not write.
fn raw(name: &[u8], kind: EntryType, link: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(0o644);
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link);
    header.set_cksum();
    let mut archive = header.as_bytes().to_vec();
    archive.extend([0; 1024]);
    archive
}

fn joined(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut all: Vec<u8> = parts
        .iter()
        .flat_map(|part| part[..part.len() - 1024].to_vec())
        .collect();
    all.extend([0; 1024]);
    all
}

#[test]
fn paths_that_leave_the_tree_are_refused_by_name_and_rule() {
    assert_eq!(
        refused(&raw(b"../etc/passwd", EntryType::Regular, b"")),
        "`../etc/passwd` is refused: its path has `..` in it"
    );
    assert_eq!(
        refused(&raw(b"/etc/passwd", EntryType::Regular, b"")),
        "`/etc/passwd` is refused: its path is absolute"
    );
    assert!(refused(&raw(b"a/../../b", EntryType::Regular, b"")).contains("`..`"));
    assert!(refused(&raw(b"a\nb", EntryType::Regular, b"")).contains("control character"));
    assert!(refused(&raw(b"a\xff\xfe", EntryType::Regular, b"")).contains("not UTF-8"));
}

#[test]
fn links_that_leave_the_tree_are_refused_and_others_are_kept() {
    assert!(refused(&raw(b"x", EntryType::Symlink, b"/etc/passwd")).contains("absolute path `/etc/passwd`"));
    assert!(refused(&raw(b"a/x", EntryType::Symlink, b"../../etc/passwd")).contains("points out of the source"));
    // Each link alone stays inside; together they leave.
    let tricky = joined(&[
        raw(b"d/s", EntryType::Symlink, b".."),
        raw(b"x", EntryType::Symlink, b"d/s/../y"),
    ]);
    assert!(refused(&tricky).contains("points out of the source"));
    assert!(
        refused(&joined(&[
            raw(b"a", EntryType::Symlink, b"b"),
            raw(b"b", EntryType::Symlink, b"a")
        ]))
        .contains("in circles")
    );
    assert!(
        refused(&joined(&[
            raw(b"d", EntryType::Symlink, b"e"),
            raw(b"d/file", EntryType::Regular, b"")
        ]))
        .contains("no folder")
    );
    assert!(refused(&raw(b"x", EntryType::Link, b"/etc/shadow")).contains("absolute"));
    assert!(refused(&raw(b"x", EntryType::Link, b"nothing")).contains("no file before it"));
    let kept = read(&joined(&[
        raw(b"a", EntryType::Regular, b""),
        raw(b"d/b", EntryType::Symlink, b"../a"),
        raw(b"c", EntryType::Link, b"a"),
    ]))
    .unwrap();
    assert!(kept.has_file("d/b") && kept.has_file("c"));
    assert_eq!(kept.read("d/../../a", 10), None);
}

#[test]
fn devices_duplicates_and_damage_are_refused() {
    assert!(refused(&raw(b"x", EntryType::Char, b"")).contains("device"));
    assert!(refused(&raw(b"x", EntryType::Fifo, b"")).contains("pipe"));
    assert!(
        refused(&joined(&[
            raw(b"x", EntryType::Regular, b""),
            raw(b"./x", EntryType::Regular, b"")
        ]))
        .contains("twice")
    );
    assert!(
        refused(
            b"this is no archive at all, only a text that is long enough to be read as something"
                .repeat(20)
                .as_slice()
        )
        .contains("cannot be read")
    );
    let whole = archive(&[("a", &"x".repeat(5_000))]);
    assert!(refused(&whole[..2_000]).contains("archive cannot be read"));
}

#[test]
fn bombs_and_crowds_are_stopped_early() {
    let limits = SourceLimits {
        entries: 1_000,
        file_bytes: 1 << 20,
        total_bytes: 4 << 20,
    };
    let limited = |bytes: &[u8]| {
        Source::from_tar(bytes, &limits, &std::env::temp_dir())
            .map(|_| panic!("accepted"))
            .unwrap_or_else(|error| error.to_string())
    };
    // A gzip of zeros, a thousand times smaller than what it holds.
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let mut header = tar::Header::new_gnu();
    header.set_path("bomb").unwrap();
    header.set_size(64 << 20);
    header.set_cksum();
    bomb.write_all(header.as_bytes()).unwrap();
    std::io::copy(&mut std::io::repeat(0).take(64 << 20), &mut bomb).unwrap();
    assert!(limited(&bomb.finish().unwrap()).contains("a file may have 1 MiB"));
    let mib = "x".repeat(1 << 20);
    let many = archive(&[("a", &mib), ("b", &mib), ("c", &mib), ("d", &mib), ("e", "x")]);
    assert!(limited(&many).contains("more than 4 MiB together"));
    // Hard links are copies in the build; they count.
    let first = archive(&[("a", &mib)]);
    let links: Vec<Vec<u8>> = (0..5)
        .map(|number| raw(format!("l{number}").as_bytes(), EntryType::Link, b"a"))
        .collect();
    let all = joined(&std::iter::once(first).chain(links).collect::<Vec<_>>());
    assert!(limited(&all).contains("more than 4 MiB together"), "{}", limited(&all));
    // Zeros without end after the archive's end, or names without end, are cut off too.
    let mut noise = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for number in 0..2_000 {
        let entry = raw(format!("f{number}").as_bytes(), EntryType::Regular, b"");
        noise.write_all(&entry[..512]).unwrap();
    }
    assert!(limited(&noise.finish().unwrap()).contains("more than 1000 files"));
}

#[test]
fn a_hundred_thousand_files_are_read_in_reasonable_time() {
    let mut bytes = Vec::with_capacity(60 << 20);
    for number in 0..100_000 {
        bytes.extend_from_slice(
            &raw(
                format!("d{}/f{number}", number % 300).as_bytes(),
                EntryType::Regular,
                b"",
            )[..512],
        );
    }
    bytes.extend([0; 1024]);
    let started = std::time::Instant::now();
    let source = read(&bytes).unwrap();
    assert_eq!(source.list("").len(), 300);
    println!("100,000 entries in {:?}", started.elapsed());
}

#[test]
fn hostile_files_in_a_source_are_words_not_crashes() {
    for files in [
        vec![("Procfile", "web: x\nweb: y\n"), ("app.py", "x")],
        vec![("Procfile", "\0\0\0"), ("app.py", "x")],
        vec![("weir.toml", "[app.'../x']\nfolder = \"/etc\"")],
        vec![("weir.toml", "[build]\nruntime = \"x\\nRUN evil\"")],
        vec![("package.json", "{\"scripts\":")],
        vec![("pyproject.toml", "[project")],
        vec![
            ("package.json", "{\"engines\":{\"node\":\"$(reboot)\"}}"),
            ("index.js", ""),
        ],
        vec![(".python-version", "3.13; reboot"), ("app.py", "")],
        vec![
            ("weir.toml", "[build]\npublish = \"a\\\"]\"\nkind = \"static\""),
            ("a\"]/index.html", ""),
        ],
    ] {
        assert!(
            weir_build::detect(&source(&files), &project()).is_err(),
            "{files:?} was accepted"
        );
    }
    // Names that a Dockerfile would read as something else bring in the whole source instead.
    let odd = source(&[
        ("requirements.txt", "-r $(reboot).txt\nflask\n"),
        ("app.py", "app = Flask(__name__)"),
    ]);
    assert!(format!("{:?}", plans(&odd)[0].image).contains("whole_source: true"));
}
