//! What each connection parameter means.

use super::{Address, BadTarget, ChannelBinding, Host, RootCert, SessionAttrs, SslMode, Target, url::Pairs};
use secrecy::SecretString;
use std::{collections::HashMap, path::PathBuf, time::Duration};

const KNOWN: &[&str] = &[
    "host",
    "port",
    "user",
    "password",
    "dbname",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "channel_binding",
    "target_session_attrs",
    "connect_timeout",
    "application_name",
    "options",
];

/// How long one host may take when the URL does not say.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn target(pairs: Pairs) -> Result<Target, BadTarget> {
    let mut given = HashMap::new();
    for (name, value) in pairs {
        if !KNOWN.contains(&name.as_str()) {
            return Err(unknown(&name));
        }
        // As in libpq, the last one counts.
        given.insert(name, value);
    }
    let mut take = |name: &str| given.remove(name).filter(|value| !value.is_empty());

    let hosts = hosts(take("host").as_deref(), take("port").as_deref())?;
    let user = take("user").ok_or_else(|| {
        BadTarget("the URL names no user: write `postgres://USER:PASSWORD@HOST/DATABASE`".to_owned())
    })?;
    let root_cert = take("sslrootcert").map(|value| match value.as_str() {
        "system" => RootCert::System,
        file => RootCert::File(PathBuf::from(file)),
    });
    let sslmode = take("sslmode").map(|word| word_of("sslmode", &word, SslMode::from_word, SslMode::WORDS));
    let sslmode = sslmode.transpose()?;
    let client_cert = match (take("sslcert"), take("sslkey")) {
        (None, None) => None,
        (Some(cert), Some(key)) => Some((PathBuf::from(cert), PathBuf::from(key))),
        _ => return Err(BadTarget("`sslcert` and `sslkey` go together: one is missing".to_owned())),
    };
    let channel_binding = take("channel_binding")
        .map(|word| word_of("channel_binding", &word, ChannelBinding::from_word, ChannelBinding::WORDS));
    let session = take("target_session_attrs")
        .map(|word| word_of("target_session_attrs", &word, SessionAttrs::from_word, SessionAttrs::WORDS));
    Ok(Target {
        hosts,
        password: take("password").map(SecretString::from),
        database: take("dbname").unwrap_or_else(|| user.clone()),
        user,
        sslmode: checked_mode(sslmode, root_cert.as_ref())?,
        root_cert,
        client_cert,
        channel_binding: channel_binding.transpose()?.unwrap_or(ChannelBinding::Prefer),
        session: session.transpose()?.unwrap_or(SessionAttrs::Any),
        connect_timeout: timeout(take("connect_timeout").as_deref())?,
        application_name: take("application_name").unwrap_or_else(|| "rowcall".to_owned()),
        options: take("options"),
    })
}

/// The system's roots vouch for anyone on the internet, so they only make sense with the name
/// verified; libpq says the same.
fn checked_mode(mode: Option<SslMode>, root: Option<&RootCert>) -> Result<SslMode, BadTarget> {
    match (mode, root) {
        (None, Some(RootCert::System)) => Ok(SslMode::VerifyFull),
        (Some(mode), Some(RootCert::System)) if mode != SslMode::VerifyFull => Err(BadTarget(format!(
            "`sslmode={}` with `sslrootcert=system` would accept any public certificate: use `sslmode=verify-full`",
            mode.word()
        ))),
        (mode, _) => Ok(mode.unwrap_or(SslMode::Prefer)),
    }
}

fn unknown(name: &str) -> BadTarget {
    let near = KNOWN.iter().map(|known| (strsim::damerau_levenshtein(known, name), known)).min();
    let hint = match near {
        Some((distance, known)) if distance <= name.len().max(3) / 2 => format!("; did you mean `{known}`?"),
        _ => format!("; known are {}", KNOWN.join(", ")),
    };
    BadTarget(format!("the URL's parameter `{name}` is unknown{hint}"))
}

fn word_of<T>(
    name: &str,
    word: &str,
    read: impl Fn(&str) -> Option<T>,
    words: &[&str],
) -> Result<T, BadTarget> {
    read(word).ok_or_else(|| BadTarget(format!("`{name}={word}` is none of {}", words.join(", "))))
}

fn hosts(names: Option<&str>, ports: Option<&str>) -> Result<Vec<Host>, BadTarget> {
    let names: Vec<&str> = names.unwrap_or("localhost").split(',').collect();
    let ports: Vec<&str> = ports.unwrap_or("").split(',').collect();
    if ports.len() != 1 && ports.len() != names.len() {
        return Err(BadTarget(format!(
            "the URL names {} ports for {} hosts: give one for all or one each",
            ports.len(),
            names.len()
        )));
    }
    let host = |(at, name): (usize, &&str)| {
        let port = match *ports.get(at).unwrap_or(&ports[0]) {
            "" => 5432,
            text => match text.parse() {
                Ok(port) if port != 0 => port,
                _ => {
                    return Err(BadTarget(format!(
                        "the URL's port `{text}` is not a number from 1 to 65535"
                    )));
                }
            },
        };
        let address = match *name {
            "" => Address::Tcp("localhost".to_owned()),
            path if path.starts_with('/') => Address::Unix(PathBuf::from(path)),
            name => Address::Tcp(name.to_owned()),
        };
        Ok(Host { address, port })
    };
    names.iter().enumerate().map(host).collect()
}

/// Whole seconds; 0 is for ever.
fn timeout(text: Option<&str>) -> Result<Option<Duration>, BadTarget> {
    let Some(text) = text else { return Ok(Some(CONNECT_TIMEOUT)) };
    match text.parse::<u32>() {
        Ok(0) => Ok(None),
        Ok(seconds) => Ok(Some(Duration::from_secs(seconds.into()))),
        Err(_) => Err(BadTarget(format!("`connect_timeout={text}` is not a whole number of seconds"))),
    }
}

#[cfg(test)]
mod tests;
