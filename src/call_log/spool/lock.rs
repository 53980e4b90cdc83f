use super::SpoolError;
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process,
};

/// Keeps other processes out of the directory while it lives; the system takes it back from the dead.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "it is held, not used")] File);

impl Lock {
    pub(super) fn take(folder: &Path) -> Result<Self, SpoolError> {
        let path = folder.join("lock");
        let failed = |cause| SpoolError::Io { doing: "locking", path: path.clone(), cause };
        let open =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = open.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // What it says only helps to find the other one.
                let _ = file.take(32).read_to_string(&mut holder);
                let holder = holder.trim().parse().ok();
                return Err(SpoolError::InUse { path: folder.to_owned(), holder });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // On a full disk it stays empty, which is no reason not to start.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", process::id()));
        Ok(Self(file))
    }
}
