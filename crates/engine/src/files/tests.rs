use std::collections::BTreeMap;
use std::io::Cursor;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

struct Place {
    _folder: tempfile::TempDir,
    root: PathBuf,
    outside: PathBuf,
    tree: Tree,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let (root, outside) = (folder.path().join("volume"), folder.path().join("outside"));
    std::fs::create_dir(&root).unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "SECRET of the machine").unwrap();
    let tree = Tree::open(&root).unwrap();
    Place {
        _folder: folder,
        root,
        outside,
        tree,
    }
}

fn at(text: &str) -> TreePath {
    TreePath::parse(text).unwrap()
}

fn content(tree: &Tree, path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut tree.read(&at(path)).unwrap().0, &mut bytes).unwrap();
    bytes
}

fn tar_of(entries: &[(&[u8], tar::EntryType, &[u8])]) -> File {
    let mut builder = tar::Builder::new(tempfile::tempfile().unwrap());
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        // By hand, because the library refuses to write what is hostile.
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn what_is_written_is_read_and_listed() {
    let Place {
        tree,
        root,
        _folder: _kept,
        ..
    } = place();
    let made = tree.write(&at("/a.txt"), b"one", &Condition::Absent).unwrap();
    assert_eq!((made.bytes, made.mode, made.kind), (3, 0o644, FileKind::File));
    assert_eq!(content(&tree, "/a.txt"), b"one");
    let again = tree.write(&at("/a.txt"), b"two", &Condition::Absent);
    assert!(matches!(again, Err(FileError::Changed(_))), "{again:?}");
    let changed = tree
        .write(&at("/a.txt"), b"two", &Condition::Unchanged(made.tag.clone()))
        .unwrap();
    assert_ne!(changed.tag, made.tag);
    let stale = tree.write(&at("/a.txt"), b"three", &Condition::Unchanged(made.tag));
    assert!(matches!(stale, Err(FileError::Changed(_))), "{stale:?}");
    let gone = tree.write(&at("/b.txt"), b"three", &Condition::Unchanged("1".to_owned()));
    assert!(matches!(gone, Err(FileError::Changed(_))), "{gone:?}");
    assert_eq!(content(&tree, "/a.txt"), b"two");
    tree.make_folder(&at("/f")).unwrap();
    assert!(matches!(tree.make_folder(&at("/f")), Err(FileError::Exists(_))));
    assert!(matches!(tree.make_folder(&at("/x/y")), Err(FileError::NotFound(_))));
    tree.rename(&at("/a.txt"), &at("/f/%FF")).unwrap();
    assert!(root.join("f").join(std::ffi::OsStr::from_bytes(b"\xff")).exists());
    let listing = tree.list(&at("/f"), None, 10).unwrap();
    assert_eq!(listing.entries[0].path.encoded(), "/f/%FF");
    assert_eq!(listing.entries[0].name(), "\u{fffd}");
    assert!(matches!(
        tree.rename(&at("/f"), &at("/f/g")),
        Err(FileError::Refused(_))
    ));
    assert!(matches!(
        tree.list(&at("/f/%FF"), None, 10),
        Err(FileError::NotAFolder(_))
    ));
    assert!(std::fs::read_dir(&root).unwrap().count() == 1, "nothing hidden is left");
}

#[test]
fn a_name_is_shown_whole_however_long() {
    let Place {
        tree, _folder: _kept, ..
    } = place();
    let long = "l".repeat(255);
    tree.make_folder(&at(&format!("/{long}"))).unwrap();
    assert_eq!(tree.list(&at("/"), None, 10).unwrap().entries[0].name(), long);
}

#[test]
fn a_long_folder_comes_in_parts_sorted_by_name() {
    let Place {
        tree,
        root,
        _folder: _kept,
        ..
    } = place();
    for number in 0..2500 {
        std::fs::write(root.join(format!("{number:04}")), "").unwrap();
    }
    let (mut seen, mut after) = (Vec::new(), None::<Vec<u8>>);
    loop {
        let part = tree.list(&TreePath::root(), after.as_deref(), 1000).unwrap();
        seen.extend(part.entries.iter().map(FileFacts::name));
        after = part.entries.last().map(|last| last.path.split().unwrap().1.to_vec());
        if !part.more {
            break;
        }
    }
    let wanted: Vec<String> = (0..2500).map(|number| format!("{number:04}")).collect();
    assert_eq!(seen, wanted);
}

#[test]
fn links_are_shown_and_never_followed() {
    let Place {
        tree,
        root,
        outside,
        _folder: _kept,
        ..
    } = place();
    symlink(&outside, root.join("out")).unwrap();
    symlink(outside.join("secret"), root.join("file")).unwrap();
    symlink("..", root.join("up")).unwrap();
    let listing = tree.list(&TreePath::root(), None, 10).unwrap();
    let kinds: Vec<_> = listing.entries.iter().map(|entry| (entry.name(), entry.kind)).collect();
    assert!(kinds.iter().all(|(_, kind)| *kind == FileKind::Link), "{kinds:?}");
    assert_eq!(
        listing.entries[0].target.as_deref(),
        Some(outside.join("secret").as_os_str().as_bytes())
    );
    for path in ["/file", "/out", "/out/secret", "/up/outside/secret"] {
        let read = tree.read(&at(path));
        assert!(matches!(read, Err(FileError::Link(_))), "{path}: {read:?}");
        let written = tree.write(&at(path), b"x", &Condition::Always);
        assert!(matches!(written, Err(FileError::Link(_))), "{path}: {written:?}");
    }
    assert!(matches!(
        tree.list(&at("/out"), None, 10),
        Err(FileError::Link(_) | FileError::NotAFolder(_))
    ));
    assert!(matches!(tree.remove(&at("/out/secret")), Err(FileError::Link(_))));
    assert!(matches!(
        tree.rename(&at("/out/secret"), &at("/mine")),
        Err(FileError::Link(_))
    ));
    assert!(matches!(tree.make_folder(&at("/out/new")), Err(FileError::Link(_))));
    tree.remove(&at("/out")).unwrap();
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(std::fs::read(outside.join("secret")).unwrap(), b"SECRET of the machine");
}

#[test]
fn pipes_sockets_and_devices_are_never_opened() {
    let Place {
        tree,
        root,
        _folder: _kept,
        ..
    } = place();
    let pipe = root.join("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    for name in ["/pipe", "/socket"] {
        assert_eq!(tree.look(&at(name)).unwrap().kind, FileKind::Other);
        // Opening the pipe would wait for whoever writes to it.
        assert!(matches!(tree.read(&at(name)), Err(FileError::NotAFile(_))));
        assert!(matches!(
            tree.write(&at(name), b"x", &Condition::Always),
            Err(FileError::NotAFile(_))
        ));
    }
    let mut out = Vec::new();
    tree.archive(&TreePath::root(), ArchiveFormat::Tar, &mut out).unwrap();
    assert_eq!(tar::Archive::new(Cursor::new(out)).entries().unwrap().count(), 0);
    tree.remove(&at("/pipe")).unwrap();
    assert!(!pipe.exists());
}

fn entries_of_tar(bytes: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in tar::Archive::new(Cursor::new(bytes)).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        io::Read::read_to_end(&mut entry, &mut content).unwrap();
        if let Some(target) = entry.link_name_bytes() {
            content = [b"-> ", &*target].concat();
        }
        found.insert(entry.path_bytes().into_owned(), content);
    }
    found
}

#[test]
fn an_archive_holds_everything_and_comes_back_the_same() {
    let Place {
        tree,
        root,
        _folder: _kept,
        ..
    } = place();
    let long = "l".repeat(200);
    std::fs::create_dir_all(root.join("a/b").join(&long)).unwrap();
    std::fs::write(root.join("a/b").join(&long).join("deep"), "deep").unwrap();
    std::fs::write(
        root.join("a").join(std::ffi::OsStr::from_bytes(b"odd\xff\nname")),
        "odd",
    )
    .unwrap();
    std::fs::create_dir(root.join("a/empty")).unwrap();
    symlink("/etc/passwd", root.join("a/link")).unwrap();
    let mut plain = Vec::new();
    tree.archive(&at("/a"), ArchiveFormat::Tar, &mut plain).unwrap();
    let entries = entries_of_tar(&plain);
    let deep = format!("b/{long}/deep").into_bytes();
    assert_eq!(entries[&deep], b"deep");
    assert_eq!(entries[&b"odd\xff\nname"[..]], b"odd");
    assert_eq!(entries[&b"link"[..]], b"-> /etc/passwd");
    assert!(entries.keys().any(|name| name.starts_with(b"empty")), "{entries:?}");

    let mut packed = Vec::new();
    tree.archive(&at("/a"), ArchiveFormat::TarGz, &mut packed).unwrap();
    let mut archive = tempfile::tempfile().unwrap();
    archive.write_all(&packed).unwrap();
    let unpacked = tree
        .unpack(&at("/copy/here"), &archive, Existing::Keep, || Ok(()))
        .unwrap();
    assert_eq!((unpacked.files, unpacked.bytes), (2, 7));
    assert_eq!(unpacked.left_out, ["/link"]);
    assert_eq!(content(&tree, &format!("/copy/here/b/{long}/deep")), b"deep");
    assert_eq!(content(&tree, "/copy/here/odd%FF%0Aname"), b"odd");
    assert_eq!(tree.look(&at("/copy/here/empty")).unwrap().kind, FileKind::Folder);

    let mut zipped = Vec::new();
    tree.archive(&at("/a"), ArchiveFormat::Zip, &mut zipped).unwrap();
    let mut zip = zip::ZipArchive::new(Cursor::new(zipped)).unwrap();
    let mut text = String::new();
    io::Read::read_to_string(&mut zip.by_name(&format!("b/{long}/deep")).unwrap(), &mut text).unwrap();
    assert_eq!(text, "deep");
    assert!(zip.by_name("odd%FF%0Aname").is_ok());
}

#[test]
fn five_thousand_small_files_go_in_and_come_out() {
    let Place {
        tree, _folder: _kept, ..
    } = place();
    let names: Vec<String> = (0..5000).map(|number| format!("d{}/f{number}", number % 50)).collect();
    let entries: Vec<(&[u8], tar::EntryType, &[u8])> = names
        .iter()
        .map(|name| (name.as_bytes(), tar::EntryType::Regular, name.as_bytes()))
        .collect();
    let unpacked = tree
        .unpack(&TreePath::root(), &tar_of(&entries), Existing::Keep, || Ok(()))
        .unwrap();
    assert_eq!(unpacked.files, 5000);
    assert_eq!(tree.amount(|_| ControlFlow::Continue(())).unwrap().files, 5000);
    let mut out = Vec::new();
    tree.archive(&TreePath::root(), ArchiveFormat::Tar, &mut out).unwrap();
    let found = entries_of_tar(&out);
    assert!(names.iter().all(|name| found[name.as_bytes()] == name.as_bytes()));
    for number in 0..50 {
        tree.remove(&at(&format!("/d{number}"))).unwrap();
    }
    assert_eq!(tree.amount(|_| ControlFlow::Continue(())).unwrap().files, 0);
}

#[test]
fn a_hostile_archive_writes_nothing() {
    let Place {
        tree,
        root,
        outside,
        _folder: _kept,
        ..
    } = place();
    symlink(&outside, root.join("out")).unwrap();
    std::fs::write(root.join("there"), "old").unwrap();
    let file = tar::EntryType::Regular;
    let hostile: [&[u8]; 5] = [b"../secret", b"/etc/weir", b"out/secret", b"a/../../secret", b"there"];
    for name in hostile {
        let archive = tar_of(&[(b"first", file, b"1"), (name, file, b"2")]);
        let unpacked = tree.unpack(&TreePath::root(), &archive, Existing::Keep, || Ok(()));
        assert!(unpacked.is_err(), "{name:?}");
        assert!(!root.join("first").exists(), "{name:?}");
    }
    let replaced = tar_of(&[(b"there", file, b"new")]);
    tree.unpack(&TreePath::root(), &replaced, Existing::Replace, || Ok(()))
        .unwrap();
    assert_eq!(content(&tree, "/there"), b"new");
    assert_eq!(std::fs::read(outside.join("secret")).unwrap(), b"SECRET of the machine");
    // A name of gigabytes would have to be kept in memory.
    let long = vec![b'x'; 3 << 20];
    let archive = tar_of(&[
        (b"././@LongLink", tar::EntryType::GNULongName, &long),
        (b"x", file, b"1"),
    ]);
    let refused = tree.unpack(&TreePath::root(), &archive, Existing::Keep, || Ok(()));
    assert!(matches!(refused, Err(FileError::BadArchive(_))), "{refused:?}");
}

#[test]
fn folders_of_any_depth_are_removed() {
    let Place {
        tree,
        root,
        _folder: _kept,
        ..
    } = place();
    // Deeper than the longest path that the kernel takes.
    let mut folder = rustix::fs::openat(CWD, &root, FOLDER, Mode::empty()).unwrap();
    for _ in 0..3000 {
        fs::mkdirat(&folder, "deeper", Mode::from_raw_mode(0o755)).unwrap();
        folder = fs::openat(&folder, "deeper", FOLDER, Mode::empty()).unwrap();
    }
    drop(folder);
    tree.remove(&at("/deeper")).unwrap();
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0);
}

#[test]
fn a_file_is_taken_in_by_name_with_its_owner() {
    let Place {
        tree,
        root,
        outside,
        _folder: _kept,
        ..
    } = place();
    let staged = outside.join("staged");
    std::fs::write(&staged, "whole").unwrap();
    let facts = tree.take_in(&at("/new"), &staged, Existing::Keep).unwrap();
    assert_eq!((facts.bytes, facts.mode), (5, 0o644));
    assert!(!staged.exists());
    let owner = |path: &Path| std::fs::metadata(path).map(|facts| (facts.uid(), facts.gid())).unwrap();
    assert_eq!(owner(&root.join("new")), owner(&root));
    std::fs::write(&staged, "other").unwrap();
    assert!(matches!(
        tree.take_in(&at("/new"), &staged, Existing::Keep),
        Err(FileError::Exists(_))
    ));
    tree.take_in(&at("/new"), &staged, Existing::Replace).unwrap();
    assert_eq!(content(&tree, "/new"), b"other");
    // Another file system.
    if let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") {
        let staged = elsewhere.path().join("staged");
        std::fs::write(&staged, "far").unwrap();
        tree.take_in(&at("/far"), &staged, Existing::Keep).unwrap();
        assert_eq!(content(&tree, "/far"), b"far");
        assert!(!staged.exists());
        // It was copied and not removed yet when that broke off: it is known by its time.
        let staged_at = |text: &str, seconds| {
            std::fs::write(&staged, text).unwrap();
            let file = File::options().write(true).open(&staged).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds))
                .unwrap();
        };
        staged_at("once", 1_700_000_000);
        tree.take_in(&at("/again"), &staged, Existing::Keep).unwrap();
        staged_at("once", 1_700_000_000);
        tree.take_in(&at("/again"), &staged, Existing::Resume).unwrap();
        staged_at("another", 1_700_000_001);
        let refused = tree.take_in(&at("/again"), &staged, Existing::Resume);
        assert!(matches!(refused, Err(FileError::Exists(_))), "{refused:?}");
        assert_eq!(content(&tree, "/again"), b"once");
    }
}

/// Gives a file away, where the test may do that; what it is then.
fn given_to_its_program(path: &Path) -> (u32, u32, u32) {
    std::fs::set_permissions(path, Permissions::from_mode(0o4640)).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(path, Some(4321), Some(1234)).unwrap();
        std::fs::set_permissions(path, Permissions::from_mode(0o4640)).unwrap();
    }
    let facts = std::fs::metadata(path).unwrap();
    (facts.uid(), facts.gid(), 0o640)
}

#[test]
fn a_file_that_is_replaced_keeps_its_owner_and_permissions_but_lends_no_rights() {
    let Place {
        tree,
        root,
        outside,
        _folder: _kept,
        ..
    } = place();
    let path = root.join("app.db");
    let now = || {
        let facts = std::fs::metadata(&path).unwrap();
        (facts.uid(), facts.gid(), facts.mode() & 0o7777)
    };
    std::fs::write(&path, "old").unwrap();
    let own = given_to_its_program(&path);
    tree.write(&at("/app.db"), b"written", &Condition::Always).unwrap();
    assert_eq!(now(), own, "written");

    given_to_its_program(&path);
    let staged = outside.join("staged");
    std::fs::write(&staged, "moved").unwrap();
    tree.take_in(&at("/app.db"), &staged, Existing::Replace).unwrap();
    assert_eq!((now(), content(&tree, "/app.db")), (own, b"moved".to_vec()), "taken in");

    given_to_its_program(&path);
    let tar = tar_of(&[(b"app.db", tar::EntryType::Regular, b"unpacked")]);
    tree.unpack(&TreePath::root(), &tar, Existing::Replace, || Ok(()))
        .unwrap();
    assert_eq!(
        (now(), content(&tree, "/app.db")),
        (own, b"unpacked".to_vec()),
        "unpacked"
    );
}

#[test]
fn what_broke_off_is_unpacked_to_its_end_and_what_was_changed_since_stays() {
    let Place {
        tree,
        root,
        _folder: _kept,
        ..
    } = place();
    let mut builder = tar::Builder::new(tempfile::tempfile().unwrap());
    for name in ["changed", "torn", "missing"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(5);
        header.set_mode(0o644);
        header.set_mtime(1_700_000_000);
        builder.append_data(&mut header, name, &b"whole"[..]).unwrap();
    }
    let archive = builder.into_inner().unwrap();
    let root_path = TreePath::root();
    let refused = tree.unpack(&root_path, &archive, Existing::Keep, || {
        Err(FileError::Refused("not today".to_owned()))
    });
    assert!(matches!(refused, Err(FileError::Refused(_))), "{refused:?}");
    assert_eq!(
        std::fs::read_dir(&root).unwrap().count(),
        0,
        "it is asked before anything is written"
    );

    tree.unpack(&root_path, &archive, Existing::Keep, || Ok(())).unwrap();
    // A machine that lost its power leaves a file without its content, with the time that was set.
    let torn = File::create(root.join("torn")).unwrap();
    torn.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000))
        .unwrap();
    std::fs::write(root.join("changed"), "by the app").unwrap();
    std::fs::remove_file(root.join("missing")).unwrap();
    let again = tree.unpack(&root_path, &archive, Existing::Keep, || Ok(()));
    assert!(matches!(again, Err(FileError::Exists(_))), "{again:?}");
    let unpacked = tree.unpack(&root_path, &archive, Existing::Resume, || Ok(())).unwrap();
    assert_eq!(
        (unpacked.files, &unpacked.left_out[..]),
        (2, &["/changed".to_owned()][..])
    );
    for (name, text) in [("changed", "by the app"), ("torn", "whole"), ("missing", "whole")] {
        assert_eq!(content(&tree, &format!("/{name}")), text.as_bytes(), "{name}");
    }
}

#[test]
fn counting_tells_how_far_it_is_and_ends_when_it_is_enough() {
    let Place {
        tree,
        root,
        _folder: _kept,
        ..
    } = place();
    for number in 0..2500 {
        std::fs::write(root.join(format!("{number}")), "").unwrap();
    }
    let mut told = Vec::new();
    let counted = tree.amount(|so_far| {
        told.push(so_far.files);
        if so_far.files < 1500 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    let counted = counted.unwrap().files;
    assert_eq!(told, [0, 999, 1999]);
    assert_eq!(counted, 1999);
}

/// An app that runs swaps a folder for a link out of its volume, as fast as it can.
#[test]
fn an_app_that_swaps_folders_for_links_leads_nobody_out() {
    let Place {
        tree,
        root,
        outside,
        _folder: _kept,
        ..
    } = place();
    std::fs::create_dir(root.join("inner")).unwrap();
    std::fs::write(root.join("inner/secret"), "of the app").unwrap();
    symlink(&outside, root.join("other")).unwrap();
    let stop = AtomicBool::new(false);
    let swaps = std::thread::scope(|scope| {
        let swapping = scope.spawn(|| {
            let folder = rustix::fs::openat(CWD, &root, FOLDER, Mode::empty()).unwrap();
            let mut swaps = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                fs::renameat_with(&folder, "inner", &folder, "other", RenameFlags::EXCHANGE).unwrap();
                swaps += 1;
            }
            swaps
        });
        let archive = tar_of(&[(b"inner/unpacked", tar::EntryType::Regular, b"x")]);
        let (mut inside, mut refused) = (0, 0);
        for _ in 0..3000 {
            match tree.read(&at("/inner/secret")) {
                Ok((mut file, _)) => {
                    let mut text = String::new();
                    io::Read::read_to_string(&mut file, &mut text).unwrap();
                    assert_eq!(text, "of the app");
                    inside += 1;
                }
                Err(FileError::Link(_) | FileError::NotFound(_)) => refused += 1,
                Err(error) => panic!("{error}"),
            }
            let _ = tree.write(&at("/inner/written"), b"x", &Condition::Always);
            let _ = tree.make_folder(&at("/inner/made"));
            let _ = tree.remove(&at("/inner/made"));
            let _ = tree.rename(&at("/inner/written"), &at("/inner/renamed"));
            let _ = tree.unpack(&TreePath::root(), &archive, Existing::Replace, || Ok(()));
            let mut out = Vec::new();
            let _ = tree.archive(&TreePath::root(), ArchiveFormat::Tar, &mut out);
            assert!(!out.windows(6).any(|bytes| bytes == b"SECRET"));
            for entry in tree.list(&TreePath::root(), None, 10).unwrap().entries {
                assert!(entry.kind != FileKind::File, "{entry:?}");
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(inside > 0 && refused > 0, "{inside} {refused}");
        swapping.join().unwrap()
    });
    assert!(swaps > 1000, "{swaps}");
    let left: Vec<_> = std::fs::read_dir(&outside)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert_eq!(left, ["secret"]);
    assert_eq!(std::fs::read(outside.join("secret")).unwrap(), b"SECRET of the machine");
}
