//! The way of records through RabbitMQ: what is declared there, how it is reached, and
//! [`RabbitOutlet`], which publishes.
//!
//! Upholds invariant 6: a record counts as sent only once the broker has confirmed it, and one that
//! came back because no queue takes it does not count. What fails comes again under the same id, so a
//! record may be in the queue twice; whoever stores it stores it once.
//!
//! lapin's own recovery is not used: it gives up after some attempts and says nothing of what was
//! lost. A connection that failed is thrown away as a whole, and what it must have is declared on the
//! next one.

mod address;
mod link;
mod outlet;
mod settings;
mod topology;

pub use address::Address;
pub use link::Link;
pub use outlet::RabbitOutlet;
pub use settings::RabbitMqSettings;
pub use topology::{DEAD_REASON, Inspection, declare, inspect};

use super::CallLogError;
use lapin::{
    ErrorKind,
    protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError},
};

/// What lapin says, as ours.
fn failed(doing: &'static str, error: &lapin::Error) -> CallLogError {
    let (hint, lasting) = match error.kind() {
        ErrorKind::ProtocolError(error) => match error.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => {
                (": it is there with other properties; delete it, or name another one", true)
            }
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => {
                (": check the user and its permissions", true)
            }
            AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => (": check the virtual host in the URL", true),
            _ => ("", false),
        },
        _ => ("", false),
    };
    CallLogError { doing, message: format!("{error}{hint}"), lasting }
}

/// Of something that time may mend.
fn passing(doing: &'static str, message: impl Into<String>) -> CallLogError {
    CallLogError { doing, message: message.into(), lasting: false }
}

/// A text that AMQP takes where it takes 255 bytes at most: itself, or what stands for it.
pub(crate) fn short(text: &str) -> lapin::types::ShortString {
    lapin::types::ShortString::try_new(text).unwrap_or_else(|_| {
        let hash = xxhash_rust::xxh3::xxh3_128(text.as_bytes());
        let begin = text.char_indices().map(|(at, _)| at).take_while(|at| *at <= 200).last().unwrap_or(0);
        format!("{}~{hash:032x}", &text[..begin]).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_long_is_told_apart_all_the_same() {
        assert_eq!(short("call.loan").as_str(), "call.loan");
        let texts = ["é".repeat(127) + "1", "é".repeat(128), "é".repeat(129), "x".repeat(70_000)];
        let short = texts.each_ref().map(|it| short(it).to_string());
        assert_eq!(short[0], texts[0]);
        assert!(short.iter().all(|it| it.len() <= 255), "{short:?}");
        assert_ne!(short[1], short[2]);
    }
}
