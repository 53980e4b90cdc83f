use crate::call_log::spool::{
    Limits, Spool, SpoolSettings,
    disk::{Disk, RealDisk, SegmentFile},
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A disk on which so many bytes fit, as far as segments go. What does not fit is written in part.
#[derive(Clone, Debug)]
pub(in crate::call_log) struct SmallDisk(Arc<AtomicU64>);

#[derive(Debug)]
struct SmallFile {
    inner: Box<dyn SegmentFile>,
    path: PathBuf,
    room: Arc<AtomicU64>,
}

impl SmallDisk {
    pub(in crate::call_log) fn new(room: u64) -> Self {
        Self(Arc::new(room.into()))
    }

    /// A spool on it.
    pub(in crate::call_log) fn open(&self, settings: &SpoolSettings) -> Spool {
        let limits = Limits { max: settings.max.0, segment: 64 << 10, when_full: settings.when_full };
        Spool::open_on(Box::new(self.clone()), &settings.path, limits).expect("a spool")
    }

    pub(in crate::call_log) fn grow(&self, by: u64) {
        self.0.fetch_add(by, Ordering::SeqCst);
    }
}

impl Disk for SmallDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        let inner = RealDisk.create(path)?;
        Ok(Box::new(SmallFile { inner, path: path.to_owned(), room: self.0.clone() }))
    }
}

impl SegmentFile for SmallFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let folder = self.path.parent().expect("a folder");
        let others: u64 = fs::read_dir(folder)?
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|it| it == "v1") && *path != self.path)
            .map(|path| path.metadata().map_or(0, |it| it.len()))
            .sum();
        let room = self.room.load(Ordering::SeqCst).saturating_sub(others + offset);
        let Some(part) = bytes.get(..usize::try_from(room).unwrap_or(usize::MAX)) else {
            return self.inner.write_at(bytes, offset);
        };
        self.inner.write_at(part, offset)?;
        if part.len() == bytes.len() { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.inner.sync()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.inner.cut(length)
    }
}
