//! A disk of a few megabytes, which can be filled and freed.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A mounted tmpfs; it vanishes with this value.
pub struct Disk(TempDir);

impl Disk {
    /// Mounts one of this size, where the system allows it: to mount is root's
    /// right, and in many a container nobody's. Otherwise it says so on stderr.
    #[must_use]
    pub fn mount(megabytes: u32) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m,mode=755")])
            .arg("gnomon-test")
            .arg(directory.path())
            .stdin(Stdio::null())
            .output();
        let refusal = match mounted {
            Ok(output) if output.status.success() => return Some(Self(directory)),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        // Not by `eprintln!`, which is shown only when a test fails.
        let _ = writeln!(
            std::io::stderr(),
            "NOT TESTED on a real full disk, as no tmpfs can be mounted here: {}",
            refusal.trim()
        );
        None
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Makes it read-only.
    ///
    /// # Panics
    /// When the system refuses it.
    pub fn make_read_only(&self) {
        let remounted = Command::new("mount")
            .args(["-o", "remount,ro"])
            .arg(self.path())
            .status()
            .unwrap();
        assert!(remounted.success());
    }

    /// Takes all the room that is left.
    ///
    /// # Panics
    /// When something else than a full disk ends it.
    pub fn fill(&self) {
        let mut filler = File::create(self.filler()).unwrap();
        // First by large steps and then to the last byte.
        for step in [64 * 1024, 512, 1] {
            let zeros = vec![0; step];
            let full = loop {
                if let Err(error) = filler.write_all(&zeros) {
                    break error;
                }
            };
            assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
        }
    }

    /// Gives it back.
    ///
    /// # Panics
    /// When it was not taken.
    pub fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> std::path::PathBuf {
        self.path().join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: somebody may still have a file open.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.path())
            .stdin(Stdio::null())
            .status();
    }
}
