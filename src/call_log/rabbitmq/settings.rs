use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

/// `call_log.rabbitmq`: the broker that records go through.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RabbitMq")]
pub struct RabbitMqSettings {
    /// `amqp://user:password@host:5672/vhost`, or `amqps://` for TLS.
    #[serde(serialize_with = "crate::model::masked")]
    #[schemars(with = "String", extend("writeOnly" = true))]
    pub url: SecretString,
    /// The topic exchange that records are published to, with the routing key `call.<route>`: others
    /// may bind queues of their own.
    #[serde(default = "exchange")]
    pub exchange: String,
    /// The queue that the log keeper reads.
    #[serde(default = "queue")]
    pub queue: String,
    /// The queue of what cannot be stored, each with its reason.
    #[serde(default = "dead")]
    pub dead: String,
    /// How many records share a message. Other consumers have it easier with one; more make it faster:
    /// then a message is a JSON array of records of one route.
    #[serde(default = "batch")]
    pub batch: NonZeroU32,
    /// PEM: the authorities to trust behind `amqps`, in the place of the machine's own.
    #[serde(default, serialize_with = "crate::model::masked_if_given")]
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    pub ca: Option<SecretString>,
}

impl RabbitMqSettings {
    /// The usual names behind this URL.
    pub fn at(url: SecretString) -> Self {
        Self { url, exchange: exchange(), queue: queue(), dead: dead(), batch: batch(), ca: None }
    }
}

fn exchange() -> String {
    "rowcall.call_log".to_owned()
}

fn queue() -> String {
    "rowcall.call_log.keeper".to_owned()
}

fn dead() -> String {
    "rowcall.call_log.dead".to_owned()
}

fn batch() -> NonZeroU32 {
    NonZeroU32::MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_defaults_and_the_url_is_never_shown() {
        let settings: RabbitMqSettings =
            serde_json::from_str(r#"{"url": "amqp://u:hidden@h", "batch": 5}"#).expect("settings");
        assert_eq!((settings.exchange.as_str(), settings.batch.get()), ("rowcall.call_log", 5));
        let shown = format!("{settings:?} {}", serde_json::to_string(&settings).expect("JSON"));
        assert!(!shown.contains("hidden"), "{shown}");
        for wrong in [r#"{}"#, r#"{"url": "amqp://h", "batch": 0}"#, r#"{"url": "amqp://h", "que": "q"}"#] {
            assert!(serde_json::from_str::<RabbitMqSettings>(wrong).is_err(), "{wrong}");
        }
    }
}
