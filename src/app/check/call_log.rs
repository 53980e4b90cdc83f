//! Whether the log of calls can go where it is to go.

use super::{App, Findings};
use crate::{
    call_log::{
        CallLogError, SpoolSettings, SqliteCallLog,
        mongodb::{MongoCallLog, MongoDbSettings},
        rabbitmq::{self, RabbitMqSettings},
    },
    model::ByteSize,
};
use std::{fs, io, path::Path};

impl App {
    pub(super) async fn check_call_log(&self, findings: &mut Findings) {
        let settings = &self.loaded.config.call_log;
        if !settings.enabled {
            return findings.good("no log of calls is kept");
        }
        if let Some(rabbitmq) = &settings.rabbitmq {
            let is_kept_here = settings.keeper && settings.mongodb.is_some();
            check_rabbitmq(rabbitmq, settings.mongodb.is_some() && !is_kept_here, findings).await;
        }
        if let Some(mongodb) = &settings.mongodb {
            check_mongodb(mongodb, findings).await;
        }
        if settings.rabbitmq.is_none() && settings.mongodb.is_none() {
            check_sqlite(&self.call_log_path(), findings).await;
        }
        if let Some(spool) = &settings.spool {
            check_spool(&self.beside_configuration(&spool.path), spool, findings);
        }
    }
}

/// `wants_reader`: the queue is read by other processes alone.
async fn check_rabbitmq(settings: &RabbitMqSettings, wants_reader: bool, findings: &mut Findings) {
    let found = match rabbitmq::inspect(settings).await {
        Ok(found) => found,
        Err(error) => {
            let fix =
                "check `call_log.rabbitmq.url` (host, user, password, virtual host), `ca`, and the broker";
            return findings.bad(format!("call log: {error}"), fix);
        }
    };
    let RabbitMqSettings { exchange, queue, dead, .. } = settings;
    for wrong in &found.wrong {
        findings.bad(
            format!("call log: RabbitMQ's {wrong}"),
            "delete it there, name another one in `call_log.rabbitmq`, or give the user its permissions",
        );
    }
    if !found.wrong.is_empty() {
        return;
    }
    if found.missing.is_empty() {
        let waiting = match found.waiting {
            0 => "no message waits".to_owned(),
            1 => "1 message waits".to_owned(),
            more => format!("{more} messages wait"),
        };
        findings.good(format!("call log: RabbitMQ has `{exchange}` and `{queue}`, {waiting} there"));
    } else {
        let missing = found.missing.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ");
        findings.good(format!("call log: RabbitMQ is reached; the first start makes {missing}"));
    }
    if wants_reader && found.readers == 0 {
        findings.warning(
            format!("call log: nobody reads `{queue}`, and `call_log.keeper` is false"),
            "start `rowcall log-keeper`",
        );
    }
    if found.dead > 0 {
        findings.warning(
            format!("call log: {} messages in `{dead}` could not be stored", found.dead),
            format!("look at their header `{}`", rabbitmq::DEAD_REASON),
        );
    }
}

async fn check_mongodb(settings: &MongoDbSettings, findings: &mut Findings) {
    let trying = async {
        let store = MongoCallLog::new(settings)?;
        store.try_write().await?;
        Ok::<String, CallLogError>(store.place())
    };
    match trying.await {
        Ok(place) => findings.good(format!("call log: MongoDB takes records at {place}")),
        Err(error) => findings.bad(
            format!("call log: {error}"),
            format!(
                "check `call_log.mongodb.url`, the server, and that its user has `readWrite` on database `{}`",
                settings.database
            ),
        ),
    }
}

async fn check_sqlite(path: &Path, findings: &mut Findings) {
    let fix = "name another place in `call_log.sqlite.path`, or let this user write there";
    let trying = async {
        match SqliteCallLog::open_existing(path)? {
            Some(store) => store.try_write().await.map(|()| "takes records"),
            None => Ok("can be made"),
        }
    };
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    match trying.await {
        Err(error) => findings.bad(format!("call log: {error}"), fix),
        // Beside it its journal is written.
        Ok(how) => match try_folder(folder) {
            Ok(()) => findings.good(format!("call log: the file {} {how}", path.display())),
            Err(error) => {
                findings.bad(format!("call log: {} cannot be written to: {error}", folder.display()), fix)
            }
        },
    }
}

fn check_spool(folder: &Path, settings: &SpoolSettings, findings: &mut Findings) {
    // What is not there is made at the start.
    let there = folder.ancestors().find(|it| it.exists()).unwrap_or(folder);
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    let name = folder.display();
    if let Err(error) = try_folder(there) {
        return findings.bad(
            format!("call log: the spool {name} cannot be written to: {error}"),
            "name another directory in `call_log.spool.path`, or let this user write there",
        );
    }
    let room = rustix::fs::statvfs(there).map(|it| it.f_bavail.saturating_mul(it.f_frsize));
    match room {
        Ok(room) => judge_room(folder, room.saturating_add(used(folder)), settings.max, findings),
        Err(error) => findings.warning(
            format!("call log: how much room the spool {name} has cannot be told: {error}"),
            format!("see that there is {} for it", settings.max),
        ),
    }
}

fn judge_room(folder: &Path, room: u64, max: ByteSize, findings: &mut Findings) {
    let name = folder.display();
    if room >= max.0 {
        return findings.good(format!("call log: the spool {name} has room for its {max}"));
    }
    findings.warning(
        format!(
            "call log: the spool {name} may take {max}, and there is room for {}",
            ByteSize(room).rounded()
        ),
        "make room there, or lower `call_log.spool.max`",
    );
}

/// What lies in the spool already.
fn used(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|it| it.metadata().ok()).filter(|it| it.is_file()).map(|it| it.len()).sum()
}

/// Makes a file there, and takes it away again.
fn try_folder(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".rowcall-check-{}", std::process::id()));
    let made = fs::OpenOptions::new().write(true).create_new(true).open(&path);
    made.and_then(|mut file| io::Write::write_all(&mut file, b"?")).and_then(|()| fs::remove_file(&path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Verdict;

    #[test]
    fn a_spool_is_judged_by_the_room_there_is_and_may_not_be_a_file() {
        let folder = std::env::temp_dir();
        let mut findings = Findings::default();
        judge_room(&folder, 1 << 30, ByteSize(1 << 30), &mut findings);
        judge_room(&folder, 1 << 20, ByteSize(1 << 30), &mut findings);
        check_spool(Path::new("/dev/null/spool"), &SpoolSettings::at("spool"), &mut findings);
        let verdicts: Vec<Verdict> = findings.found.iter().map(|it| it.verdict).collect();
        assert_eq!(verdicts, [Verdict::Good, Verdict::Warning, Verdict::Bad], "{:?}", findings.found);
        assert!(
            findings.found[1].what.ends_with("may take 1GiB, and there is room for 1MiB"),
            "{:?}",
            findings.found
        );
    }
}
