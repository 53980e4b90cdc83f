//! What an operator can ask and do on the admin address: what the commands do.

use super::{App, AppError};
use crate::{
    admin::{
        Admin, Desk, DeskError,
        view::{Finding, Status},
    },
    config,
};
use async_trait::async_trait;
use std::sync::Arc;

impl App {
    /// Listens at `admin.listen`, unless that is `off`.
    pub(super) async fn start_admin(&self) -> Result<Option<Admin>, AppError> {
        let (desk, vitals) = (Arc::new(self.clone()), Arc::new(self.clone()));
        Admin::start(&self.loaded.config.admin, desk, vitals).await.map_err(AppError::failed)
    }
}

impl From<AppError> for DeskError {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Configuration(_) => Self::Wrong(error.to_string()),
            AppError::Failed(message) => Self::Refused(message),
            AppError::Unreachable(message) => Self::Unreachable(message),
        }
    }
}

#[async_trait]
impl Desk for App {
    async fn status(&self) -> Result<Status, DeskError> {
        Ok(App::status(self).await?)
    }

    async fn check(&self) -> Result<Vec<Finding>, DeskError> {
        Ok(App::check(self).await?)
    }

    fn configuration(&self) -> String {
        config::show(&self.loaded)
    }
}
