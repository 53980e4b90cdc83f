//! The call log as commands read it.

use super::{App, AppError};
use crate::call_log::{CallLogStore, CallRecord, Seal, SqliteCallLog, mongodb::MongoCallLog};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where records are found, and how their bodies are opened.
pub struct CallArchive {
    /// The records.
    pub store: Arc<dyn CallLogStore>,
    seal: Option<Seal>,
}

impl CallArchive {
    /// Opens the bodies of a record as far as the keys at hand do.
    pub fn open(&self, record: &mut CallRecord) {
        if let Some(seal) = &self.seal {
            seal.open(record);
        }
    }
}

impl App {
    /// The call log of this configuration.
    pub async fn call_archive(&self) -> Result<CallArchive, AppError> {
        let settings = &self.loaded.config.call_log;
        if let Some(mongodb) = &settings.mongodb {
            let store = Arc::new(MongoCallLog::new(mongodb).map_err(AppError::failed)?);
            return Ok(CallArchive { store, seal: self.seal()? });
        }
        if settings.rabbitmq.is_some() {
            let message = "records go to `call_log.rabbitmq` alone: who takes them from there has them. With \
                           `call_log.mongodb` a log keeper stores them, and they are found again here";
            return Err(AppError::Failed(message.to_owned()));
        }
        let path = self.call_log_path();
        let found = SqliteCallLog::open_existing(&path).map_err(AppError::failed)?;
        let store: Arc<dyn CallLogStore> = match found {
            Some(store) => Arc::new(store),
            None if !settings.enabled => {
                let message = "no log of calls is kept: `call_log.enabled` is false";
                return Err(AppError::Failed(message.to_owned()));
            }
            None => {
                let message = format!(
                    "there is no call log at {} yet: `rowcall run` makes it with the first call",
                    path.display()
                );
                return Err(AppError::Failed(message));
            }
        };
        Ok(CallArchive { store, seal: self.seal()? })
    }

    /// The embedded call log's file.
    pub(super) fn call_log_path(&self) -> PathBuf {
        self.beside_configuration(&self.loaded.config.call_log.sqlite.path)
    }

    /// A path of the configuration, which goes from the folder of its file.
    pub(super) fn beside_configuration(&self, path: &Path) -> PathBuf {
        let folder = Path::new(&self.loaded.file).parent();
        folder.map_or_else(PathBuf::new, PathBuf::from).join(path)
    }

    pub(super) fn seal(&self) -> Result<Option<Seal>, AppError> {
        let encrypt = self.loaded.config.call_log.encrypt.as_ref();
        let keys = encrypt.map(|it| [&it.key].into_iter().chain(&it.former));
        keys.map(Seal::new).transpose().map_err(AppError::Failed)
    }
}
