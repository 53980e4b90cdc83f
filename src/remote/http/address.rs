//! Where calls go: which URLs may be called, and what a step's path becomes.

use bytes::Bytes;
use http::{Uri, uri::PathAndQuery};
use std::{fmt::Display, net::IpAddr};
use url::{Position, Url};

/// Reads the base URL; an error never repeats what may be a password.
pub(in crate::remote) fn base_url(text: &str, allow_http: bool) -> Result<Url, String> {
    let url = callable_url(text, allow_http)?;
    if url.query().is_some() {
        return Err("it must not have a `?` part: put query parameters into the steps".into());
    }
    Ok(url)
}

/// Reads a URL that credentials may be sent to; an error never repeats what may be a password.
pub(in crate::remote) fn callable_url(text: &str, allow_http: bool) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| {
        format!("this is not a URL ({error}): expected something like `https://api.example.com/v2`")
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it must not hold credentials: put them under `auth`".into());
    }
    if url.fragment().is_some() {
        return Err("it must not have a `#` part".into());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if allow_http || is_loopback(&url) => Ok(url),
        "http" => Err(format!(
            "`http://` to {} would send credentials and data unencrypted: use `https://`, or set `allow_http: true` if the network is trusted",
            host(&url)
        )),
        other => Err(format!("`{other}://` is not a way to call an API: use `https://`")),
    }
}

/// The same URL as the base of a remote, and the path and query below it; an error never repeats them.
pub fn in_parts(text: &str, allow_http: bool) -> Result<(String, String), String> {
    let url = callable_url(text, allow_http)?;
    Ok((url[..Position::BeforePath].to_owned(), url[Position::BeforePath..].to_owned()))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Host and, where it is not the usual one, port.
pub(in crate::remote) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// What messages call a remote: its name and host.
pub(in crate::remote) fn label(name: &str, url: &str) -> String {
    match Url::parse(url) {
        Ok(url) => format!("{name} ({})", host(&url)),
        Err(_) => name.to_owned(),
    }
}

/// Everything before a step's path, read once for all calls.
#[derive(Clone, Debug)]
pub(super) struct Base {
    /// Scheme and host.
    root: Uri,
    /// Without a slash at the end.
    path: String,
}

impl Base {
    pub(super) fn new(url: &Url) -> Result<Self, String> {
        let root = with_path(uri(url)?, "/".to_owned())?;
        Ok(Self { root, path: url.path().trim_end_matches('/').to_owned() })
    }

    /// Where a call to this path goes, which `path::check` has let through.
    pub(super) fn uri(&self, path: &str) -> Result<Uri, String> {
        let text = [&self.path, path].concat();
        let text = if path.bytes().all(stays) { text } else { self.coded(&text)? };
        with_path(self.root.clone(), text)
    }

    /// The path and query as a URL writes them: what may not stand there is percent-encoded.
    fn coded(&self, text: &str) -> Result<String, String> {
        let root = self.root.to_string();
        let url = Url::parse(&[root.trim_end_matches('/'), text].concat()).map_err(unread)?;
        Ok(url[Position::BeforePath..Position::AfterQuery].to_owned())
    }
}

/// Whether this byte is written into path and query as it is. Of the others some are, but need no
/// haste.
fn stays(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'&'..=b';' | b'=' | b'?' | b'@' | b'!' | b'$' | b'%' | b'_' | b'~')
        && byte != b'\''
}

/// A whole URL as a request takes it.
pub(in crate::remote) fn uri(url: &Url) -> Result<Uri, String> {
    url.as_str().parse().map_err(|error| format!("it cannot be called ({error})"))
}

/// The same with another path and query.
pub(in crate::remote) fn with_path(uri: Uri, text: String) -> Result<Uri, String> {
    let mut parts = uri.into_parts();
    // This way the text is not copied.
    parts.path_and_query = Some(PathAndQuery::from_maybe_shared(Bytes::from(text)).map_err(unread)?);
    Uri::from_parts(parts).map_err(unread)
}

fn unread(error: impl Display) -> String {
    format!("its URL cannot be read: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_base_url_is_https_unless_it_stays_on_this_machine_or_is_allowed() {
        for fine in
            ["https://api.example/v2", "http://localhost:8080", "http://127.0.0.1", "http://[::1]:9/x"]
        {
            assert!(base_url(fine, false).is_ok(), "{fine}");
        }
        for wrong in
            ["http://api.example", "http://127.0.0.1.example", "ftp://x", "api.example", "", "https://"]
        {
            assert!(base_url(wrong, false).is_err(), "{wrong}");
        }
        assert!(base_url("http://api.example", true).is_ok());
    }

    #[test]
    fn a_base_url_holds_no_credentials_query_or_fragment_and_the_error_does_not_repeat_them() {
        for wrong in [
            "https://me:hunter2@api.example",
            "https://api.example?key=hunter2",
            "https://a.example/#hunter2",
        ] {
            let error = base_url(wrong, false).expect_err(wrong);
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_url_is_a_base_and_what_is_below_it() {
        let parts = in_parts("https://hooks.example:8443/T0/B0?sig=a%2Fb", false).expect("a URL");
        assert_eq!(parts, ("https://hooks.example:8443".to_owned(), "/T0/B0?sig=a%2Fb".to_owned()));
        assert_eq!(in_parts("https://hooks.example", false).expect("a URL").1, "/");
        for wrong in ["hunter2", "http://hooks.example/hunter2", "https://me:hunter2@hooks.example"] {
            assert!(!in_parts(wrong, false).expect_err(wrong).contains("hunter2"));
        }
    }

    fn called(base: &str, path: &str) -> Result<String, String> {
        let base = Base::new(&base_url(base, true).expect("a base URL")).expect("a base");
        base.uri(path).map(|uri| uri.to_string())
    }

    #[test]
    fn a_path_goes_below_the_base_and_what_may_not_stand_in_a_url_is_coded() {
        for (base, path, expected) in [
            ("https://api.example", "/", "https://api.example/"),
            ("https://api.example:443/", "/a?", "https://api.example/a?"),
            ("https://api.example:8443/v2/", "/a//b?x=1", "https://api.example:8443/v2/a//b?x=1"),
            ("http://[::1]:9/x", "//b", "http://[::1]:9/x//b"),
            ("https://bücher.example/é", "/é b", "https://xn--bcher-kva.example/%C3%A9/%C3%A9%20b"),
            ("https://a.example", "/it's?it's", "https://a.example/it's?it%27s"),
            ("https://a.example", "/a%2Fb%zz?{x}|\"", "https://a.example/a%2Fb%zz?{x}|%22"),
        ] {
            assert_eq!(called(base, path).as_deref(), Ok(expected), "{base} {path}");
        }
        let error = called("https://api.example", &format!("/{}", "a".repeat(70_000))).expect_err("too long");
        assert_eq!(error, "its URL cannot be read: uri too long");
    }

    proptest! {
        /// The fast way and the slow one, for every path that is let through.
        #[test]
        fn a_call_goes_where_a_url_of_both_texts_would(
            base in "(http|https)://(api\\.example|127\\.0\\.0\\.1|\\[::1\\])(:[1-9][0-9]{0,3})?(/[ -\"$->@-~é]{0,8})?/?",
            path in "/([a-zA-Z0-9/._~%?&=:@!$()*+,;-]|[ -~]|[éß€\u{80}\u{1F600}]){0,24}",
        ) {
            let base = base_url(&base, true);
            if let Ok(base) = base && crate::remote::path::check(&path).is_ok() {
                let both = [base.as_str().trim_end_matches('/'), &path].concat();
                let url = Url::parse(&both).expect("a URL");
                let uri = Base::new(&base).expect("a base").uri(&path).expect("a URI");
                prop_assert_eq!(uri.to_string(), url.as_str(), "{} and {}", base, path);
            }
        }
    }
}
