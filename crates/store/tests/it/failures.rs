//! What happens when the machine fails.

use std::path::Path;
use std::process::Command;

use weir_model::task::LineKind;
use weir_store::{Store, StoreError};

use crate::database::on_each_database;
use crate::fixtures::{deploy, house, task};

/// A file system of one megabyte, unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where mounting is not allowed.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "weir-test"])
            .arg(folder.path())
            .output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(folder)),
            _ => {
                eprintln!("a small disk cannot be mounted here (needs root): the test of a full disk is skipped");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[tokio::test]
async fn on_a_full_disk_writes_fail_clearly_reads_go_on_and_space_heals_it() {
    let Some(disk) = SmallDisk::mount() else { return };
    let url = format!("sqlite:{}", disk.path().join("weir.db").display());
    let store = Store::open(&url).await.unwrap();
    let (shop, production) = house(&store, "shop").await;
    let (release, _) = deploy(&store, production.id).await;
    let ballast = disk.path().join("ballast");
    let big = task(shop.id, None);
    store.task_insert(&big).await.unwrap();
    // Whoever else fills the disk.
    let _ = std::fs::write(&ballast, vec![1; 4 << 20]);

    let lines: Vec<_> = (0..300).map(|_| (LineKind::Output, "x".repeat(4000))).collect();
    for _ in 0..3 {
        let error = store.task_lines_append(big.id, 1, &lines).await.unwrap_err();
        assert!(matches!(error, StoreError::Full(_)), "{error:?}");
        assert!(!error.retryable() && error.to_string().contains("free some space"));
        // Single statements too.
        let error = store.setting_set("big", &"x".repeat(2 << 20)).await.unwrap_err();
        assert!(matches!(error, StoreError::Full(_)), "{error:?}");
        assert_eq!(store.project_list().await.unwrap(), std::slice::from_ref(&shop));
        assert_eq!(
            store.release_list(production.id, 10).await.unwrap(),
            std::slice::from_ref(&release)
        );
        assert_eq!(store.task_lines(big.id, 0, 10).await.unwrap(), []);
    }

    std::fs::remove_file(&ballast).unwrap();
    assert_eq!(store.task_lines_append(big.id, 1, &lines[..5]).await.unwrap().len(), 5);
    assert_eq!(deploy(&store, production.id).await.0.number, 2);
    store.close().await;
    // Nothing is damaged.
    let store = Store::open(&url).await.unwrap();
    assert_eq!(store.task_lines(big.id, 0, 10).await.unwrap().len(), 5);
    store.close().await;
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_an_error_and_not_a_guess() {
    on_each_database(|database| async move {
        let (_, production) = house(&database.store, "shop").await;
        let mut connection = crate::database::look(&database).await;
        sqlx::raw_sql("UPDATE environments SET mode = 'sleeping'")
            .execute(&mut connection)
            .await
            .unwrap();
        let error = database.store.environment_by_id(production.id).await.unwrap_err();
        assert!(matches!(error, StoreError::Internal(_)));
        assert!(
            error.to_string().contains("mode") && error.to_string().contains("sleeping"),
            "{error}"
        );
    })
    .await;
}
