//! The two spellings of a connection: `postgres://…` and libpq's `key=value` words. Both become
//! the same list of parameters. No error repeats a value: it may be the password.

use super::BadTarget;

/// A parameter's name and value, in the order they were written.
pub(super) type Pairs = Vec<(String, String)>;

pub(super) fn pairs(text: &str) -> Result<Pairs, BadTarget> {
    let text = text.trim();
    let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
    match rest {
        Some(rest) => from_url(rest),
        None if text.split_once("://").is_some_and(|(scheme, _)| !scheme.contains(['=', ' '])) => {
            Err(BadTarget("the URL does not start with `postgres://` or `postgresql://`".to_owned()))
        }
        None => from_words(text),
    }
}

fn from_url(rest: &str) -> Result<Pairs, BadTarget> {
    let mut pairs = Vec::new();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    // A password with a bare `@` in it still ends at the last one.
    let (login, hosts) = match authority.rsplit_once('@') {
        Some((login, hosts)) => (Some(login), hosts),
        None => (None, authority),
    };
    if let Some(login) = login {
        let (user, password) = login.split_once(':').map_or((login, None), |(u, p)| (u, Some(p)));
        push(&mut pairs, "user", user)?;
        if let Some(password) = password {
            push(&mut pairs, "password", password)?;
        }
    }
    if !hosts.is_empty() {
        let (mut names, mut ports) = (Vec::new(), Vec::new());
        for host in hosts.split(',') {
            let (name, port) = split_port(host)?;
            names.push(decoded("host", name)?);
            ports.push(port);
        }
        if names.iter().any(|name| !name.is_empty()) {
            pairs.push(("host".to_owned(), names.join(",")));
        }
        if ports.iter().any(|port| !port.is_empty()) {
            pairs.push(("port".to_owned(), ports.join(",")));
        }
    }
    push(&mut pairs, "dbname", database)?;
    for parameter in query.split('&').filter(|it| !it.is_empty()) {
        let (name, value) = parameter.split_once('=').ok_or_else(|| {
            BadTarget(format!("the URL's parameter `{parameter}` has no value: write `{parameter}=…`"))
        })?;
        let name = decoded("a parameter's name", name)?;
        let value = decoded(&name, value)?;
        pairs.push((name, value));
    }
    Ok(pairs)
}

/// `host`, `host:port` or `[v6]:port`.
fn split_port(host: &str) -> Result<(&str, &str), BadTarget> {
    if let Some(rest) = host.strip_prefix('[') {
        let (name, after) = rest
            .split_once(']')
            .ok_or_else(|| BadTarget(format!("the URL's host `{host}` lacks its closing `]`")))?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((name, port)),
            None if after.is_empty() => Ok((name, "")),
            None => Err(BadTarget(format!("the URL's host `{host}` goes on behind its `]`"))),
        };
    }
    Ok(host.split_once(':').unwrap_or((host, "")))
}

fn push(pairs: &mut Pairs, name: &str, value: &str) -> Result<(), BadTarget> {
    if !value.is_empty() {
        pairs.push((name.to_owned(), decoded(name, value)?));
    }
    Ok(())
}

/// Undoes percent-encoding.
fn decoded(name: &str, value: &str) -> Result<String, BadTarget> {
    let bad = || {
        BadTarget(format!(
            "the URL's {name} is not percent-encoded properly: write `%25` for a `%`, `%40` for an `@`"
        ))
    };
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(bytes.next()), digit(bytes.next()));
        let (Some(high), Some(low)) = (high, low) else { return Err(bad()) };
        out.push((high * 16 + low) as u8);
    }
    match String::from_utf8(out) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(bad()),
    }
}

/// `host=db user='a b' password=it\'s`.
fn from_words(text: &str) -> Result<Pairs, BadTarget> {
    let mut pairs = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !c.is_whitespace()) {
            name.push(c);
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        if name.is_empty() && chars.peek().is_none() {
            return Ok(pairs);
        }
        if chars.next_if_eq(&'=').is_none() || name.is_empty() {
            return Err(BadTarget(
                "this is neither a `postgres://…` URL nor a list of `key=value` words".to_owned(),
            ));
        }
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let quoted = chars.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match chars.next() {
                Some('\'') if quoted => break,
                Some('\\') => value.extend(chars.next()),
                Some(c) if !quoted && c.is_whitespace() => break,
                Some(c) => value.push(c),
                None if quoted => {
                    return Err(BadTarget(format!("the value of `{name}` lacks its closing quote")));
                }
                None => break,
            }
        }
        pairs.push((name, value));
    }
}
