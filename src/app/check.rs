//! `rowcall check`: everything that can be found out before running, each with its cure.

mod call_log;
mod notify;
mod slots;
mod telemetry;

use super::{
    App, AppError, clock,
    plan::{Described, SourcePlan},
    slot_watch::danger,
};
use crate::{
    admin::view::{Finding, Verdict},
    capture::{
        PostgresReader,
        logical::{
            ReplicaIdentity, SLOT_ANEW,
            inspect::{self, Publication, Server, Slot, TableKind, TableState},
            lost_slot,
        },
    },
    model::{Lsn, TableName},
    postgres::{self, Client},
    remote::{self, HttpRemote},
    state::postgres::{pending_migrations, read_checkpoint},
    write_back,
};

#[derive(Default)]
struct Findings {
    /// What is looked at now.
    about: String,
    found: Vec<Finding>,
}

impl Findings {
    fn about(&mut self, what: impl Into<String>) -> &mut Self {
        self.about = what.into();
        self
    }

    fn add(&mut self, verdict: Verdict, what: String, fix: Option<String>) {
        self.found.push(Finding { about: self.about.clone(), verdict, what, fix });
    }

    fn good(&mut self, what: impl Into<String>) {
        self.add(Verdict::Good, what.into(), None);
    }
    fn warning(&mut self, what: impl Into<String>, fix: impl Into<String>) {
        self.add(Verdict::Warning, what.into(), Some(fix.into()));
    }
    fn bad(&mut self, what: impl Into<String>, fix: impl Into<String>) {
        self.add(Verdict::Bad, what.into(), Some(fix.into()));
    }
}

impl App {
    /// Looks at every source and remote. A finding that is bad does not end the look.
    pub async fn check(&self) -> Result<Vec<Finding>, AppError> {
        let plans = self.plans()?;
        let mut findings = Findings::default();
        findings.about("configuration").good(format!("configuration {}", self.loaded.file));
        for plan in &plans {
            check_source(plan, findings.about(format!("source.{}", plan.name))).await;
        }
        for (name, settings) in &self.loaded.config.remotes {
            check_remote(name, settings, findings.about(format!("remote.{name}"))).await;
        }
        if let Some(otlp) = &self.loaded.config.log.otlp {
            telemetry::check(otlp, findings.about("log.otlp")).await;
        }
        for (name, target) in &self.loaded.config.notify.targets {
            notify::check(name, target, findings.about(format!("notify.{name}"))).await;
        }
        self.check_call_log(findings.about("call_log")).await;
        Ok(findings.found)
    }
}

async fn check_source(plan: &SourcePlan, findings: &mut Findings) {
    let client = match postgres::connect(&plan.target).await {
        Ok(client) => client,
        Err(error) => {
            let fix = format!("correct `sources.{}.url`, or the server", plan.name);
            return findings.bad(format!("source `{}`: {error}", plan.name), fix);
        }
    };
    let tls = if plan.target.sslmode == postgres::SslMode::Disable { ", without TLS" } else { "" };
    findings.good(format!("source `{}`: connected to {}{tls}", plan.name, plan.target.place()));
    match inspect::server(&client).await {
        Ok(server) => judge_server(plan, &server, &client, findings).await,
        Err(error) => findings.bad(error.to_string(), "see the server's log"),
    }
    check_tables(plan, &client, findings).await;
    check_templates(plan, findings).await;
    check_write_back(plan, &client, findings).await;
    check_state(plan, findings).await;
}

async fn check_write_back(plan: &SourcePlan, client: &Client, findings: &mut Findings) {
    let (role, origin, destinations) = (&plan.target.user, plan.origin(), plan.planned_destinations());
    if destinations.is_empty() {
        return;
    }
    match write_back::lacking(client, role, &origin, &destinations).await {
        Ok(lacking) if lacking.is_empty() => {
            findings.good(format!("rows may be written back as origin `{origin}`"))
        }
        Ok(lacking) => lacking.into_iter().for_each(|it| findings.bad(it.what, it.fix)),
        Err(error) => findings.bad(postgres::explain(&error), "see the server's log"),
    }
}

async fn check_tables(plan: &SourcePlan, client: &Client, findings: &mut Findings) {
    for table in &plan.tables {
        match inspect::table(client, table).await {
            Ok(Some(state)) => judge_table(plan, &state, findings),
            Ok(None) => findings.bad(
                format!("table {table} does not exist"),
                format!(
                    "check the entity's `table`, and that `{}` may use schema {}",
                    plan.target.user, table.schema
                ),
            ),
            Err(error) => findings.bad(error.to_string(), "see the server's log"),
        }
    }
}

/// What is wrong with the source's tables, each with its cure, for a start.
pub(super) async fn bad_tables(plan: &SourcePlan, client: &Client) -> Vec<String> {
    let mut findings = Findings::default();
    check_tables(plan, client, &mut findings).await;
    let bad = findings.found.into_iter().filter(|it| it.verdict == Verdict::Bad);
    bad.map(|it| format!("{}: {}", it.what, it.fix.unwrap_or_default())).collect()
}

async fn judge_server(plan: &SourcePlan, server: &Server, client: &Client, findings: &mut Findings) {
    match server.version {
        14..=18 => findings.good(format!("PostgreSQL {}", server.version_text)),
        19.. => findings.warning(
            format!("PostgreSQL {} is newer than what was tested", server.version_text),
            "use PostgreSQL 14 to 18 where you can",
        ),
        _ => {
            findings.bad(format!("PostgreSQL {} is too old", server.version_text), "use PostgreSQL 14 to 18")
        }
    }
    if server.wal_level == "logical" {
        findings.good("wal_level is logical");
    } else {
        findings.bad(
            format!("wal_level is {}", server.wal_level),
            "set `wal_level = logical` in postgresql.conf and restart the server",
        );
    }
    if server.may_replicate {
        findings.good(format!("role `{}` may replicate", server.role));
    } else {
        findings.bad(
            format!("role `{}` may not replicate", server.role),
            format!("run `alter role \"{}\" with replication`", server.role),
        );
    }
    if server.senders_used >= server.senders {
        findings.bad(
            format!("all {} max_wal_senders are in use", server.senders),
            "raise `max_wal_senders` and restart the server",
        );
    }
    if server.encoding == "SQL_ASCII" {
        findings.warning(
            "the database's encoding is SQL_ASCII: texts need not be UTF-8",
            "a value that is not UTF-8 stops the stream; use a UTF8 database",
        );
    }
    let slot = inspect::slot(client, &plan.slot).await;
    match slot {
        Ok(Some(slot)) => judge_slot(plan, server, &slot, findings),
        Ok(None) if server.slots_used >= server.slots => findings.bad(
            format!(
                "slot `{}` does not exist, and all {} max_replication_slots are in use",
                plan.slot, server.slots
            ),
            "drop slots nobody reads, or raise `max_replication_slots`; then run `rowcall init`",
        ),
        Ok(None) => match checkpoint_of_slot(plan).await {
            Some(lsn) => findings.bad(
                format!(
                    "slot `{}` is gone: changes since the checkpoint {lsn} are in no slot any more",
                    plan.slot
                ),
                SLOT_ANEW,
            ),
            None => findings.bad(format!("slot `{}` does not exist", plan.slot), "run `rowcall init`"),
        },
        Err(error) => findings.bad(error.to_string(), "see the server's log"),
    }
    slots::check(plan, server, client, findings).await;
    if server.slot_keeps_mb.is_none() {
        findings.warning(
            "max_slot_wal_keep_size is unlimited: a slot nobody reads can fill the disk",
            "set `max_slot_wal_keep_size` to what the disk can bear",
        );
    }
    match inspect::publication(client, &plan.publication).await {
        Ok(Some(found)) => judge_publication(plan, &found, findings),
        Ok(None) => {
            findings.bad(format!("publication `{}` does not exist", plan.publication), "run `rowcall init`");
        }
        Err(error) => findings.bad(error.to_string(), "see the server's log"),
    }
}

/// Where the checkpoint stands that belongs to this slot, if there is one.
async fn checkpoint_of_slot(plan: &SourcePlan) -> Option<Lsn> {
    let client = postgres::connect(&plan.state).await.ok()?;
    let checkpoint = read_checkpoint(&client, &plan.name).await.ok()??;
    (checkpoint.binding.slot == plan.slot).then_some(checkpoint.lsn)
}

fn judge_slot(plan: &SourcePlan, server: &Server, slot: &Slot, findings: &mut Findings) {
    let name = &plan.slot;
    if slot.plugin != "pgoutput" || slot.database != server.database {
        findings.bad(
            format!("slot `{name}` reads database `{}` by `{}`", slot.database, slot.plugin),
            "name another slot in `capture.logical.slot`",
        );
    } else if slot.wal_status == "lost" {
        findings.bad(lost_slot(name), SLOT_ANEW);
    } else if let Some(danger) = danger(plan, slot) {
        findings.warning(danger, "let `rowcall run` catch up, or raise `max_slot_wal_keep_size`");
    } else {
        let active = if slot.active_pid.is_some() { ", in use" } else { "" };
        findings.good(format!("slot `{name}`{active}, {} KB behind", slot.lag_bytes >> 10));
    }
}

fn judge_publication(plan: &SourcePlan, found: &Publication, findings: &mut Findings) {
    let name = &plan.publication;
    let missing: Vec<&TableName> = plan.tables.iter().filter(|it| !found.tables.contains(it)).collect();
    let list = |tables: &[&TableName]| tables.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if found.all_tables {
        findings.bad(
            format!("publication `{name}` is FOR ALL TABLES, which publishes Rowcall's own state too"),
            "drop it and run `rowcall init`",
        );
    } else if !missing.is_empty() {
        findings.bad(format!("publication `{name}` lacks {}", list(&missing)), "run `rowcall init`");
    } else if !(found.inserts && found.updates && found.deletes && found.truncates && found.via_root) {
        findings
            .bad(format!("publication `{name}` does not publish every kind of change"), "run `rowcall init`");
    } else {
        findings.good(format!("publication `{name}` has every table it needs"));
    }
    let extra: Vec<&TableName> = found.tables.iter().filter(|it| !plan.tables.contains(it)).collect();
    if !extra.is_empty() && !found.all_tables {
        findings.warning(
            format!("publication `{name}` also has {}, which no entity needs", list(&extra)),
            format!("`alter publication \"{name}\" drop table …` saves sending their changes"),
        );
    }
}

fn judge_table(plan: &SourcePlan, state: &TableState, findings: &mut Findings) {
    let TableState { name, kind, primary_key, identity, identity_columns, readable } = state;
    match kind {
        TableKind::Ordinary | TableKind::Partitioned => {}
        TableKind::Unlogged | TableKind::Temporary => {
            return findings.bad(
                format!("table {name} is not logged, so its changes cannot be captured"),
                "make it a logged table",
            );
        }
        TableKind::NotATable => {
            return findings.bad(format!("{name} is not a table"), "name the table behind it in the entity");
        }
    }
    if !readable {
        return findings.bad(
            format!("role `{}` may not read table {name}", plan.target.user),
            format!("run `grant select on table {} to \"{}\"`", name.quoted(), plan.target.user),
        );
    }
    let has_key = plan.entities.iter().filter_map(|it| plan.entity(it)).any(|it| it.key.is_some());
    if primary_key.is_empty() && !has_key {
        return findings.bad(
            format!("table {name} has no primary key"),
            "add one, or name the columns in the entity's `key` and set the replica identity",
        );
    }
    let known: &[String] = if *identity == ReplicaIdentity::Index { identity_columns } else { primary_key };
    for (entity, key) in keys_of(plan, name) {
        let unknown: Vec<&String> = key.iter().filter(|it| !known.contains(it)).collect();
        if *identity != ReplicaIdentity::Full && !unknown.is_empty() {
            findings.bad(
                format!(
                    "entity `{entity}`: a delete from table {name} does not carry the key ({})",
                    key.join(", ")
                ),
                format!("run `alter table {} replica identity full`", name.quoted()),
            );
        }
    }
    let key = primary_key.join(", ");
    match identity {
        ReplicaIdentity::Nothing => findings.bad(
            format!("table {name} has replica identity nothing: the server refuses its updates and deletes once it is published"),
            format!("run `alter table {} replica identity default`, or full where it has no primary key", name.quoted()),
        ),
        ReplicaIdentity::Default if primary_key.is_empty() => findings.bad(
            format!("table {name} has no replica identity: the server refuses its updates and deletes once it is published"),
            format!("run `alter table {} replica identity full`, or add a primary key", name.quoted()),
        ),
        ReplicaIdentity::Full => findings.good(format!("table {name}, key {key}, replica identity full")),
        ReplicaIdentity::Index => {
            findings.good(format!("table {name}, replica identity by index ({})", identity_columns.join(", ")));
        }
        ReplicaIdentity::Default => findings.good(format!("table {name}, key {key}")),
    }
}

/// The entities of this table that have a `key` of their own, or whose further table it is.
fn keys_of<'a>(plan: &'a SourcePlan, table: &TableName) -> Vec<(&'a str, &'a [String])> {
    let is = |name: &str| name.parse().is_ok_and(|it: TableName| it == *table);
    let mut keys = Vec::new();
    for name in &plan.entities {
        let Some(entity) = plan.entity(name) else { continue };
        if let (true, Some(key)) = (is(&entity.table), &entity.key) {
            keys.push((name.as_str(), &*key.0));
        }
        let children = entity.tables.iter().filter(|(child, _)| is(child));
        keys.extend(children.map(|(_, child)| (name.as_str(), &*child.key.0)));
    }
    keys
}

async fn check_templates(plan: &SourcePlan, findings: &mut Findings) {
    let reader = PostgresReader::new(postgres::pool(&plan.target, 1));
    let mut described = Described::new();
    for table in &plan.tables {
        if let Ok(Some(shape)) = reader.describe(table).await {
            described.insert(table.clone(), shape);
        }
    }
    match plan.routes(Some(&described)) {
        Ok(_) => findings.good(format!("expressions of source `{}` fit its tables' columns", plan.name)),
        Err(errors) => {
            for error in errors {
                findings.bad(error, "correct the expression, or the table");
            }
        }
    }
}

async fn check_state(plan: &SourcePlan, findings: &mut Findings) {
    let client = match postgres::connect(&plan.state).await {
        Ok(client) => client,
        Err(error) => {
            return findings
                .bad(format!("state database: {error}"), format!("correct `sources.{}.state`", plan.name));
        }
    };
    match pending_migrations(&client).await {
        Ok(pending) if pending.is_empty() => findings.good("schema `rowcall` is there"),
        Ok(_) => findings.bad("schema `rowcall` is missing or older than this version", "run `rowcall init`"),
        Err(error) => findings.bad(
            format!("schema `rowcall` cannot be read: {}", postgres::explain(&error)),
            format!("run `rowcall init`, or grant `{}` the schema", plan.state.user),
        ),
    }
}

async fn check_remote(name: &str, settings: &remote::Settings, findings: &mut Findings) {
    match remote::probe(settings).await {
        Ok(how) => findings.good(format!("remote `{name}`: {how}")),
        Err(problem) => findings.bad(
            format!("remote `{name}`: {problem}"),
            format!("check `remotes.{name}.url`, the certificates, the network and the firewalls between"),
        ),
    }
    // That the settings can be used at all was looked at first.
    let Ok(remote) = HttpRemote::new(name, settings, clock::now) else { return };
    match remote.try_credentials().await {
        Some(Ok(how)) => findings.good(format!("remote `{name}`: {how}")),
        Some(Err(problem)) => {
            findings
                .bad(format!("remote `{name}`: {problem}"), format!("check `remotes.{name}.auth.oauth2`"));
        }
        None => {}
    }
}
