use crate::model::ByteSize;
use std::{io, path::PathBuf};

/// Why the spool did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process has it.
    #[error(
        "the call log's spool {} is in use by another process{}: stop that one, or give this one a \
         directory of its own (`call_log.spool.path`)",
        path.display(),
        holder.map(|pid| format!(" ({pid})")).unwrap_or_default()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Its process id, where it can be told.
        holder: Option<u32>,
    },
    /// As much lies there as may.
    #[error(
        "the call log's spool {} has reached its {max}: mend what keeps records from being sent, or raise \
         `call_log.spool.max`",
        path.display()
    )]
    Full {
        /// The directory.
        path: PathBuf,
        /// The cap.
        max: ByteSize,
    },
    /// There is no room on the disk.
    #[error(
        "the disk below the call log's spool {} is full ({cause}): make room there, or lower \
         `call_log.spool.max`",
        path.display()
    )]
    DiskFull {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A segment cannot be read, which may pass.
    #[error(
        "reading {} of the call log's spool: {cause}. It is tried again; where the disk has lost it, take the \
         file away, and the rest is sent",
        path.display()
    )]
    Unreadable {
        /// The segment.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Anything else.
    #[error("{doing} {} of the call log's spool: {cause}", path.display())]
    Io {
        /// What was under way.
        doing: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl SpoolError {
    /// There is no room, and there may be again.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::DiskFull { .. })
    }
}
