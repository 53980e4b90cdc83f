use crate::model::ByteSize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `call_log.spool`: where records wait on disk while they cannot be sent.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Spool")]
pub struct SpoolSettings {
    /// A directory of this process alone. It is made if it is not there.
    pub path: PathBuf,
    /// How much may lie there.
    #[serde(default = "max")]
    pub max: ByteSize,
    /// What happens once so much lies there, or the disk is full.
    #[serde(default)]
    pub when_full: WhenFull,
}

/// What happens to records for which there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// Calls wait until there is.
    #[default]
    Block,
    /// The oldest ones go, are counted, and a message says so.
    DropOldest,
}

impl SpoolSettings {
    /// With all that has a default.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), max: max(), when_full: WhenFull::default() }
    }
}

fn max() -> ByteSize {
    ByteSize(1 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_is_enough_and_a_typo_is_refused() {
        let read: SpoolSettings =
            serde_json::from_value(json!({ "path": "/var/spool/rowcall" })).expect("it");
        assert_eq!((read.max, read.when_full), (ByteSize(1 << 30), WhenFull::Block));
        let all = json!({ "path": "s", "max": "64MiB", "when_full": "drop_oldest" });
        let read: SpoolSettings = serde_json::from_value(all).expect("it");
        assert_eq!((read.max, read.when_full), (ByteSize(64 << 20), WhenFull::DropOldest));
        assert!(serde_json::from_value::<SpoolSettings>(json!({ "path": "s", "maximum": 1 })).is_err());
    }
}
