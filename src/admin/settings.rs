//! `admin`: where the server listens, and who may do what there.

use super::tls;
use crate::health;
use schemars::{JsonSchema, json_schema};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::{
    borrow::Cow,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
};

/// `admin`: the API, health, metrics and dashboard of `rowcall run`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Admin")]
pub struct Settings {
    /// An address and port, or `off`. Anything but loopback needs a `token`, and `tls` or `allow_http`.
    pub listen: Listen,
    /// Whoever shows it (`Authorization: Bearer …`) may do everything.
    #[serde(serialize_with = "crate::model::masked_if_given")]
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    pub token: Option<SecretString>,
    /// Whoever shows it may look at everything and change nothing.
    #[serde(serialize_with = "crate::model::masked_if_given")]
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    pub read_token: Option<SecretString>,
    /// What the server proves itself by.
    pub tls: Option<Tls>,
    /// Speak plain HTTP at an address that others can reach: TLS ends in front of it, or the network is trusted.
    pub allow_http: bool,
    /// From where on something is not well.
    pub health: health::Settings,
}

/// `admin.tls`: PEM, mostly read by `file:`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AdminTls")]
pub struct Tls {
    /// The certificate, with those between it and its authority behind it.
    #[serde(serialize_with = "crate::model::masked")]
    #[schemars(with = "String", extend("writeOnly" = true))]
    pub cert: SecretString,
    /// The private key of `cert`, not encrypted.
    #[serde(serialize_with = "crate::model::masked")]
    #[schemars(with = "String", extend("writeOnly" = true))]
    pub key: SecretString,
}

/// `admin.listen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Nowhere.
    Off,
    /// At this address; with port 0 at whichever is free.
    At(SocketAddr),
}

impl Default for Listen {
    fn default() -> Self {
        Self::At(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8087))
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let address = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        address.as_deref().unwrap_or(text).parse().map(Self::At).map_err(|_| {
            format!(
                "`{text}` is no address to listen at: write an IP address and a port, such as \
                 `127.0.0.1:8087` or `[::]:8087`, or `off`"
            )
        })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(address) => address.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Listen {
    fn schema_name() -> Cow<'static, str> {
        "Listen".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        json_schema!({ "type": "string" })
    }
}

/// Something that is wrong with the settings.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where, below `admin`.
    pub path: Vec<&'static str>,
    /// What, and what to do.
    pub message: String,
}

impl Fault {
    pub(super) fn new(path: &[&'static str], message: impl Into<String>) -> Self {
        Self { path: path.to_vec(), message: message.into() }
    }
}

/// A shorter one could be guessed.
const SHORTEST_TOKEN: usize = 16;

/// Judges the settings.
pub fn check(settings: &Settings) -> Vec<Fault> {
    let Settings { listen, token, read_token, tls, allow_http, health } = settings;
    let below = |(path, message): (Vec<&'static str>, String)| {
        Fault::new(&[&["health"][..], &path].concat(), message)
    };
    let mut faults: Vec<Fault> = health.faults().into_iter().map(below).collect();
    for (key, token) in [("token", token), ("read_token", read_token)] {
        if let Some(message) = token.as_ref().and_then(|it| unfit(it.expose_secret())) {
            faults.push(Fault::new(&[key], format!("`{key}` {message}; `openssl rand -hex 32` makes one")));
        }
    }
    match (token, read_token) {
        (None, Some(_)) => faults.push(Fault::new(
            &["read_token"],
            "`read_token` is for those who may only look: it needs a `token` for those who may do everything",
        )),
        (Some(token), Some(read)) if token.expose_secret() == read.expose_secret() => {
            faults.push(Fault::new(
                &["read_token"],
                "`read_token` is the same as `token`: whoever may look may do everything then",
            ))
        }
        _ => {}
    }
    if let Some(Err(fault)) = tls.as_ref().map(tls::server) {
        faults.push(fault);
    }
    if let Listen::At(address) = listen
        && !address.ip().is_loopback()
    {
        let missing: Vec<&str> = [
            ("`token`", token.is_none()),
            ("`tls: { cert, key }` (or `allow_http: true`)", tls.is_none() && !allow_http),
        ]
        .into_iter()
        .filter_map(|(key, missing)| missing.then_some(key))
        .collect();
        if !missing.is_empty() {
            let message = format!(
                "others can reach {address}: give {} too, or listen at 127.0.0.1:{}",
                missing.join(" and "),
                address.port()
            );
            faults.push(Fault::new(&["listen"], message));
        }
    }
    faults
}

/// Why something is no token.
fn unfit(token: &str) -> Option<String> {
    // Those of RFC 6750.
    let good = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    if token.len() < SHORTEST_TOKEN {
        return Some(format!("is shorter than {SHORTEST_TOKEN} characters, so it could be guessed"));
    }
    (!token.chars().all(good)).then(|| "may hold only a–z, A–Z, 0–9 and `-._~+/=`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(listen: &str, token: Option<&str>, read_token: Option<&str>) -> Vec<String> {
        let secret = |it: Option<&str>| it.map(|it| SecretString::from(it.to_owned()));
        let settings = Settings {
            listen: listen.parse().expect(listen),
            token: secret(token),
            read_token: secret(read_token),
            tls: None,
            allow_http: false,
            health: health::Settings::default(),
        };
        check(&settings).into_iter().map(|it| it.message).collect()
    }

    #[test]
    fn an_address_is_an_ip_and_a_port_or_off() {
        for (text, shown) in [
            ("off", "off"),
            ("127.0.0.1:8087", "127.0.0.1:8087"),
            ("localhost:0", "127.0.0.1:0"),
            ("[::1]:1", "[::1]:1"),
        ] {
            assert_eq!(text.parse::<Listen>().map(|it| it.to_string()), Ok(shown.to_owned()));
        }
        for wrong in ["", "8087", ":8087", "127.0.0.1", "example.org:80", "localhost:x"] {
            assert!(wrong.parse::<Listen>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn whoever_listens_to_others_needs_a_token_and_tls() {
        const TOKEN: Option<&str> = Some("0123456789abcdef");
        assert_eq!(faults("127.0.0.1:1", None, None), Vec::<String>::new());
        assert_eq!(faults("[::1]:1", TOKEN, None), Vec::<String>::new());
        assert_eq!(
            faults("0.0.0.0:1", None, None),
            [
                "others can reach 0.0.0.0:1: give `token` and `tls: { cert, key }` (or `allow_http: true`) too, or listen at 127.0.0.1:1"
            ]
        );
        assert_eq!(
            faults("[::]:1", TOKEN, None),
            [
                "others can reach [::]:1: give `tls: { cert, key }` (or `allow_http: true`) too, or listen at 127.0.0.1:1"
            ]
        );
    }

    #[test]
    fn tokens_are_long_and_differ() {
        let long = "0123456789abcdef";
        assert_eq!(faults("off", Some("hunter2"), None).len(), 1);
        assert_eq!(faults("off", Some("0123456789abcde "), None).len(), 1);
        assert!(faults("off", None, Some(long))[0].contains("needs a `token`"));
        assert!(faults("off", Some(long), Some(long))[0].contains("the same"));
        assert!(faults("off", Some("bunter2"), None)[0].find("bunter2").is_none());
    }
}
