//! The implementations under test, each with a user who acts behind its back.

use crate::fs::disk::Resolution;
use crate::fs::{DiskFs, Fs, MemoryFs, Root};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Appends through a handle that stays open.
pub(crate) type Append = Box<dyn FnMut(&[u8])>;

/// A root and its user. Paths are relative to the root.
pub(crate) trait Subject {
    fn fs(&self) -> &dyn Fs;
    fn write(&self, path: &str, bytes: &[u8]);
    fn write_raw(&self, name: &[u8], bytes: &[u8]);
    fn read(&self, path: &str) -> Vec<u8>;
    fn exists(&self, path: &str) -> bool;
    fn mkdir(&self, path: &str);
    fn symlink(&self, target: &str, path: &str);
    fn link(&self, old: &str, new: &str);
    fn fifo(&self, path: &str);
    fn rename(&self, from: &str, to: &str);
    fn remove_all(&self, path: &str);
    fn chmod(&self, path: &str, mode: u16);
    /// Opens for writing; the closure appends through that handle.
    fn hold(&self, path: &str) -> Append;
}

pub(crate) struct Disk {
    directory: tempfile::TempDir,
    fs: DiskFs,
}

impl Disk {
    pub(crate) fn kernel() -> Self {
        Self::new(Resolution::Kernel)
    }

    pub(crate) fn walk() -> Self {
        Self::new(Resolution::Walk)
    }

    fn new(resolution: Resolution) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let fs = DiskFs::open_with(directory.path(), resolution).unwrap();
        fs.init_root(b"marker").unwrap();
        Self { directory, fs }
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }
}

impl Subject for Disk {
    fn fs(&self) -> &dyn Fs {
        &self.fs
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        std::fs::write(self.at(path), bytes).unwrap();
    }

    fn write_raw(&self, name: &[u8], bytes: &[u8]) {
        std::fs::write(self.directory.path().join(OsStr::from_bytes(name)), bytes).unwrap();
    }

    fn read(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.at(path)).unwrap()
    }

    fn exists(&self, path: &str) -> bool {
        self.at(path).symlink_metadata().is_ok()
    }

    fn mkdir(&self, path: &str) {
        std::fs::create_dir(self.at(path)).unwrap();
    }

    fn symlink(&self, target: &str, path: &str) {
        std::os::unix::fs::symlink(target, self.at(path)).unwrap();
    }

    fn link(&self, old: &str, new: &str) {
        std::fs::hard_link(self.at(old), self.at(new)).unwrap();
    }

    fn fifo(&self, path: &str) {
        let mode = rustix::fs::Mode::RWXU;
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, self.at(path), kind, mode, 0).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        std::fs::rename(self.at(from), self.at(to)).unwrap();
    }

    fn remove_all(&self, path: &str) {
        if self.at(path).symlink_metadata().unwrap().is_dir() {
            std::fs::remove_dir_all(self.at(path)).unwrap();
        } else {
            std::fs::remove_file(self.at(path)).unwrap();
        }
    }

    fn chmod(&self, path: &str, mode: u16) {
        let permissions = PermissionsExt::from_mode(u32::from(mode));
        std::fs::set_permissions(self.at(path), permissions).unwrap();
    }

    fn hold(&self, path: &str) -> Append {
        let mut file = std::fs::OpenOptions::new().append(true).open(self.at(path)).unwrap();
        Box::new(move |bytes| std::io::Write::write_all(&mut file, bytes).unwrap())
    }
}

pub(crate) struct Memory {
    fs: MemoryFs,
}

impl Memory {
    pub(crate) fn new() -> Self {
        let time = AtomicI64::new(1_000_000_000);
        let fs = MemoryFs::new(Arc::new(move || time.fetch_add(1, Ordering::Relaxed)));
        fs.init_root(b"marker").unwrap();
        Self { fs }
    }
}

impl Subject for Memory {
    fn fs(&self) -> &dyn Fs {
        &self.fs
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        self.fs.user().write(path, bytes).unwrap();
    }

    fn write_raw(&self, name: &[u8], bytes: &[u8]) {
        self.fs.user().write(name, bytes).unwrap();
    }

    fn read(&self, path: &str) -> Vec<u8> {
        self.fs.user().read(path).unwrap()
    }

    fn exists(&self, path: &str) -> bool {
        self.fs.user().stat(path).is_ok()
    }

    fn mkdir(&self, path: &str) {
        self.fs.user().mkdir(path).unwrap();
    }

    fn symlink(&self, target: &str, path: &str) {
        self.fs.user().symlink(target, path).unwrap();
    }

    fn link(&self, old: &str, new: &str) {
        self.fs.user().link(old, new).unwrap();
    }

    fn fifo(&self, path: &str) {
        self.fs.user().make_other(path).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        self.fs.user().rename(from, to).unwrap();
    }

    fn remove_all(&self, path: &str) {
        self.fs.user().remove_all(path).unwrap();
    }

    fn chmod(&self, path: &str, mode: u16) {
        self.fs.user().chmod(path, mode).unwrap();
    }

    fn hold(&self, path: &str) -> Append {
        let file = self.fs.user().open_write(path).unwrap();
        Box::new(move |bytes| file.append(bytes).unwrap())
    }
}
