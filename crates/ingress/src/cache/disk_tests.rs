use std::time::Duration;

use weir_model::EnvironmentId;

use super::super::shelf::{EVERYTHING, Entry, Medium, Shelf, Shelves, StoredBytes};
use super::*;

const MIB: u64 = 1 << 20;

struct Place {
    folder: tempfile::TempDir,
    disk: Arc<Disk>,
    shelves: Arc<Shelves>,
}

impl Place {
    fn of(limit: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(&folder.path().join("cache"), limit).unwrap();
        let shelves = Arc::new(Shelves::new(MIB, limit));
        Self { folder, disk, shelves }
    }

    fn shelf(&self, number: u128) -> Arc<Shelf> {
        self.shelves.shelf(EnvironmentId::from_parts(1, number))
    }

    fn begin(&self, shelf: &Arc<Shelf>, key: &str, expected: Option<u64>) -> Option<Writing> {
        let only = shelf.take_off(key, Duration::from_secs(60)).ok()?;
        let rooms = Rooms {
            waiting: Arc::clone(&shelf.tallies.filling),
            unfinished: Arc::clone(&shelf.tallies.unfinished),
            files: Arc::clone(&shelf.tallies.files),
        };
        let make_room = |bytes| self.shelves.make_room(Medium::Files, shelf, bytes);
        Writing::begin(&self.disk, rooms, expected, only, make_room)
    }

    /// Keeps a body of so many bytes of the kind; false if it is not kept.
    async fn keep(&self, shelf: &Arc<Shelf>, key: &str, kind: u8, bytes: usize, expected: Option<u64>) -> bool {
        let Some(mut writing) = self.begin(shelf, key, expected) else {
            return false;
        };
        let make_room = |bytes| self.shelves.make_room(Medium::Files, shelf, bytes);
        for part in vec![kind; bytes].chunks(10_000) {
            while shelf.tallies.filling.own() > 100_000 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if !writing.push(&Bytes::copy_from_slice(part), make_room) {
                return false;
            }
        }
        let (to, kept) = tokio::sync::oneshot::channel();
        let (shelves, of, key) = (Arc::clone(&self.shelves), Arc::clone(shelf), key.to_owned());
        writing.finish(move |file| {
            let kept = shelves.put(&of, entry(&key, file), of.now());
            let _ = to.send(kept.is_some());
        });
        kept.await.unwrap_or(false)
    }

    /// Files of it that are open, which are all that there are.
    fn open_files(&self) -> usize {
        let folder = self.folder.path().join("cache");
        let open = fs::read_dir("/proc/self/fd").unwrap();
        open.filter(|link| fs::read_link(link.as_ref().unwrap().path()).is_ok_and(|path| path.starts_with(&folder)))
            .count()
    }
}

fn entry(key: &str, file: Arc<StoredFile>) -> Entry {
    Entry::for_a_minute(key, StoredBytes::File(file))
}

fn file_of(shelf: &Shelf, key: &str) -> Option<Arc<StoredFile>> {
    match &shelf.find(key, |_| true)?.body {
        StoredBytes::File(file) => Some(Arc::clone(file)),
        _ => None,
    }
}

#[tokio::test]
async fn what_is_written_is_read_again_from_anywhere_and_takes_no_name() {
    let place = Place::of(8 * MIB);
    let shelf = place.shelf(1);
    for (key, expected) in [("a", Some(300_000)), ("b", None)] {
        assert!(place.keep(&shelf, key, b'x', 300_000, expected).await);
        let file = file_of(&shelf, key).unwrap();
        assert_eq!(file.length(), 300_000);
        let read = Arc::clone(&file).read(123_456, 1_000).await.unwrap();
        assert_eq!(read, vec![b'x'; 1_000]);
        // More than there is.
        assert!(Arc::clone(&file).read(299_500, 501).await.is_err());
        assert!(file.is_broken() && !place.disk.is_ready());
        place.disk.rests_until_ms.store(0, Ordering::Relaxed);
    }
    let folder = place.folder.path().join("cache");
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    assert_eq!(
        (shelf.tallies.files.own(), shelf.tallies.unfinished.own()),
        (600_000, 0)
    );
    shelf.purge(EVERYTHING);
    assert_eq!(
        (
            place.open_files(),
            shelf.tallies.files.own(),
            shelf.tallies.filling.own()
        ),
        (0, 0, 0)
    );
}

#[tokio::test]
async fn one_tenant_takes_no_files_from_another_that_uses_less_and_the_disk_stays_bounded() {
    let place = Place::of(8 * MIB);
    let (modest, greedy) = (place.shelf(1), place.shelf(2));
    for number in 0..3 {
        assert!(
            place
                .keep(&modest, &format!("a{number}"), b'm', 500_000, Some(500_000))
                .await
        );
    }
    let mut kept = 0;
    for number in 0..60 {
        kept += usize::from(
            place
                .keep(&greedy, &format!("b{number}"), b'g', 500_000, Some(500_000))
                .await,
        );
        assert!(modest.tallies.files.own() + greedy.tallies.files.own() <= 8 * MIB);
        assert!(place.open_files() <= 16);
    }
    assert_eq!(kept, 60);
    assert!((0..3).all(|number| file_of(&modest, &format!("a{number}")).is_some()));
    // What somebody still reads keeps its room until that is over.
    let held: Vec<_> = (0..60)
        .filter_map(|number| file_of(&greedy, &format!("b{number}")))
        .collect();
    assert!(held.len() > 10, "{}", held.len());
    greedy.purge(EVERYTHING);
    assert_eq!(greedy.tallies.files.own(), 500_000 * u64::try_from(held.len()).unwrap());
    assert!(!place.keep(&greedy, "late", b'g', 900_000, Some(900_000)).await);
    drop(held);
    assert!(place.keep(&greedy, "late", b'g', 900_000, Some(900_000)).await);
}

#[tokio::test]
async fn what_does_not_come_whole_or_is_too_large_leaves_nothing() {
    let place = Place::of(8 * MIB);
    let shelf = place.shelf(1);
    let room = |bytes| place.shelves.make_room(Medium::Files, &shelf, bytes);
    assert!(place.begin(&shelf, "a", Some(MIB + 1)).is_none());
    let mut writing = place.begin(&shelf, "a", Some(1_000)).unwrap();
    assert!(place.begin(&shelf, "a", Some(1_000)).is_none(), "somebody writes it");
    assert!(writing.push(&Bytes::from(vec![0; 500]), room));
    drop(writing);
    let mut writing = place.begin(&shelf, "a", None).unwrap();
    assert!(writing.push(&Bytes::from(vec![0; 100_000]), room));
    // The disk does not keep up: the memory for what waits is all taken.
    let rest = shelf.tallies.filling.borrow(90_000).unwrap();
    assert!(!writing.push(&Bytes::from(vec![0; 200_000]), room));
    drop((rest, writing));
    for _ in 0..200 {
        let tallies = &shelf.tallies;
        if place.open_files() == 0 && tallies.files.own() + tallies.filling.own() + tallies.unfinished.own() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("something is left");
}

#[tokio::test]
async fn a_disk_that_fails_is_left_alone_for_a_while() {
    let place = Place::of(8 * MIB);
    let shelf = place.shelf(1);
    let folder = place.folder.path().join("cache");
    fs::remove_dir(&folder).unwrap();
    fs::write(&folder, "in its way").unwrap();
    assert!(!place.keep(&shelf, "a", b'x', 1_000, Some(1_000)).await);
    while place.disk.is_ready() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(place.begin(&shelf, "a", None).is_none());
    // After the rest it makes the folder again.
    fs::remove_file(&folder).unwrap();
    place.disk.rests_until_ms.store(0, Ordering::Relaxed);
    assert!(place.keep(&shelf, "a", b'x', 1_000, Some(1_000)).await);
    assert!(!place.disk.told.load(Ordering::Relaxed));
    // More than the file system has.
    assert_eq!(
        place.disk.create(1 << 60).unwrap_err().kind(),
        io::ErrorKind::StorageFull
    );
}

#[test]
fn what_a_killed_node_left_behind_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    fs::create_dir(&cache).unwrap();
    fs::write(cache.join(".tmp123"), "torn").unwrap();
    let disk = Disk::open(&cache, MIB).unwrap();
    assert!(disk.is_ready() && fs::read_dir(&cache).unwrap().count() == 0);
    assert!(Disk::open(&cache, 0).is_none());
    // A file where the folder should be.
    let blocked = Disk::open(&folder.path().join("cache/x/y"), MIB).unwrap();
    assert!(blocked.is_ready());
    fs::write(cache.join("file"), "").unwrap();
    assert!(!Disk::open(&cache.join("file"), MIB).unwrap().is_ready());
}

#[test]
fn the_share_of_a_disk_is_sane() {
    let share = sane_share(&std::env::temp_dir().join("not/there/yet"));
    assert!(share > 0 && share <= 10 << 30, "{share}");
}
