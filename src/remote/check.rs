use super::{Auth, Fault, Settings, Tls, auth, tls};
use url::Url;

/// What is wrong with a remote's `auth` and `tls`, before anything is made of them.
pub fn check(settings: &Settings) -> Vec<Fault> {
    let mut faults = auth::check(settings);
    faults.extend(settings.tls.as_ref().and_then(|it| tls::check(it, &["tls"]).err()));
    faults.extend(unused_tls(settings));
    faults
}

/// A `tls` that holds something for connections without TLS: who wrote it expects to be protected
/// by it.
fn unused_tls(settings: &Settings) -> Vec<Fault> {
    let is_given = |tls: &&Tls| tls.ca.is_some() || tls.cert.is_some() || tls.key.is_some();
    let fault = |path: &[&'static str], url: &str| {
        let message =
            format!("`{url}` is `http://`, where it is not used: write `https://`, or leave it out");
        Fault::new(path, message)
    };
    let oauth2 = match &settings.auth {
        Auth::Oauth2(oauth2) => Some(oauth2),
        _ => None,
    };
    let mut faults = Vec::new();
    if let Some(oauth2) = oauth2
        && is_plain(&oauth2.token_url)
        && oauth2.tls.as_ref().filter(is_given).is_some()
    {
        faults.push(fault(&["auth", "oauth2", "tls"], "token_url"));
    }
    let lent = oauth2.is_some_and(|it| it.tls.is_none() && !is_plain(&it.token_url));
    if is_plain(&settings.url) && !lent && settings.tls.as_ref().filter(is_given).is_some() {
        faults.push(fault(&["tls"], "url"));
    }
    faults
}

fn is_plain(url: &str) -> bool {
    Url::parse(url).is_ok_and(|it| it.scheme() == "http")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tls_for_connections_without_it_is_a_fault() {
        let (plain, secure) = ("http://localhost/x", "https://api.example/x");
        let (none, empty, given) = (json!(null), json!({}), json!({ "ca": "-----BEGIN CERTIFICATE-----" }));
        for (url, tls, token, expected) in [
            (secure, &given, None, None),
            (plain, &none, None, None),
            (plain, &empty, None, None),
            (plain, &given, None, Some("tls")),
            // The token endpoint has the remote's, unless it has its own.
            (plain, &given, Some((secure, &none)), None),
            (plain, &given, Some((secure, &empty)), Some("tls")),
            (plain, &given, Some((plain, &none)), Some("tls")),
            (secure, &given, Some((plain, &none)), None),
            (secure, &none, Some((plain, &empty)), None),
            (secure, &none, Some((plain, &given)), Some("auth.oauth2.tls")),
            (plain, &none, Some((secure, &given)), None),
        ] {
            let auth = match token {
                Some((token_url, tls)) => json!({ "oauth2": {
                    "token_url": token_url, "client_id": "me", "client_secret": "s", "tls": tls,
                } }),
                None => json!("none"),
            };
            let settings = json!({ "url": url, "tls": tls, "auth": auth });
            let faults = unused_tls(&serde_json::from_value(settings.clone()).expect("settings"));
            let paths: Vec<_> = faults.iter().map(|it| it.path.join(".")).collect();
            assert_eq!(paths, expected.map_or(vec![], |it| vec![it.to_owned()]), "{settings}");
        }
    }
}
