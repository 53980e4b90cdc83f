//! What a browser shows instead of a token: a cookie that only who knows the token could have made, good
//! for half a day. Nothing is kept of it, so that it outlives a restart; another token ends it.

use super::{Guard, Role, hash, same};
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;

/// Where no port may be told apart from another, the name should be ours alone.
const COOKIE: &str = "rowcall_session";
const LASTS: SignedDuration = SignedDuration::from_hours(12);

impl Guard {
    /// Whether a browser must log in at all.
    pub(in crate::admin) fn has_tokens(&self) -> bool {
        self.token.is_some()
    }

    /// The `Set-Cookie` for who typed this, if it is a token.
    pub(in crate::admin) fn let_in(&self, typed: &str, now: Timestamp, secure: bool) -> Option<String> {
        let shown = hash(typed.trim().as_bytes());
        let is = |it: Option<[u8; 32]>| it.is_some_and(|it| same(&it, &shown));
        let role = match (is(self.token), is(self.read_token)) {
            (true, _) => Role::Token,
            (_, true) => Role::ReadToken,
            _ => return None,
        };
        let until = now.checked_add(LASTS).ok()?.as_second();
        let proof = self.proof(role, until)?;
        let value = format!("{}.{until}.{proof}", role.name());
        Some(cookie(&value, LASTS.as_secs(), secure))
    }

    /// The role that a cookie proves.
    pub(super) fn remembered(&self, headers: &HeaderMap, now: Timestamp) -> Option<Role> {
        let cookies = headers.get_all(http::header::COOKIE).iter().filter_map(|it| it.to_str().ok());
        let mut values = cookies.flat_map(|it| it.split(';')).filter_map(|it| it.trim().split_once('='));
        values.find_map(|(name, value)| (name == COOKIE).then(|| self.read(value, now)).flatten())
    }

    fn read(&self, value: &str, now: Timestamp) -> Option<Role> {
        let mut parts = value.splitn(3, '.');
        let (role, until, proof) = (parts.next()?, parts.next()?, parts.next()?);
        let role = [Role::Token, Role::ReadToken].into_iter().find(|it| it.name() == role)?;
        let until = until.parse::<i64>().ok()?;
        let expected = self.proof(role, until)?;
        let good = same(&hash(expected.as_bytes()), &hash(proof.as_bytes())) && now.as_second() < until;
        good.then_some(role)
    }

    fn proof(&self, role: Role, until: i64) -> Option<String> {
        let key = match role {
            Role::Token => self.token,
            Role::ReadToken => self.read_token,
            Role::Local => None,
        }?;
        let mut keyed = Hmac::<Sha256>::new_from_slice(&key).ok()?;
        keyed.update(format!("rowcall session {} {until}", role.name()).as_bytes());
        Some(keyed.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The `Set-Cookie` that ends it.
pub(in crate::admin) fn forgotten(secure: bool) -> String {
    cookie("", 0, secure)
}

fn cookie(value: &str, seconds: i64, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;
    use http::HeaderValue;

    fn guard(token: &str) -> Guard {
        Guard::new(&Settings {
            token: Some(token.to_owned().into()),
            read_token: Some("read-0123456789abcdef".to_owned().into()),
            ..Settings::default()
        })
    }

    fn shown(guard: &Guard, cookie: &str, at: i64) -> Option<Role> {
        let mut headers = HeaderMap::new();
        let value = cookie.split(';').next().expect("a cookie");
        let sent = format!("other=1; {value}");
        headers.insert("cookie", HeaderValue::from_str(&sent).expect("a header"));
        guard.remembered(&headers, Timestamp::from_second(at).expect("a time"))
    }

    #[test]
    fn a_cookie_is_believed_for_half_a_day_and_by_who_made_it() {
        let mine = guard("full-0123456789abcdef");
        let cookie = mine.let_in("full-0123456789abcdef ", Timestamp::UNIX_EPOCH, true).expect("let in");
        assert!(
            cookie.ends_with("; HttpOnly; SameSite=Strict; Secure") && !cookie.contains("0123456789abcdef;")
        );
        assert_eq!(shown(&mine, &cookie, 60), Some(Role::Token));
        assert_eq!(shown(&mine, &cookie, 12 * 3_600), None, "its time is over");
        assert_eq!(shown(&guard("other-0123456789abcde"), &cookie, 60), None, "another token");
        let read = mine.let_in("read-0123456789abcdef", Timestamp::UNIX_EPOCH, false).expect("let in");
        assert_eq!(shown(&mine, &read, 60), Some(Role::ReadToken));
        assert_eq!(shown(&mine, &read.replace("read_token", "token"), 60), None, "a role is not chosen");
        assert_eq!(shown(&mine, &read.replace("43200", "99999"), 60), None, "nor a time");
        assert_eq!(mine.let_in("full-0123456789abcdeg", Timestamp::UNIX_EPOCH, true), None);
    }
}
