//! What the process says about itself, sent to a collector: a span for each attempt, and the lines of its
//! log, as OTLP over HTTP in JSON.
//!
//! Upholds invariant 5 (what waits for the collector is bounded, and the oldest is dropped and counted) and
//! 7 (a span has no header, no body and no query; it is made of a record that was redacted).
//!
//! An [`Exporter`] takes spans and lines at any time and never waits; [`Exporter::run`] sends them. A
//! collector that is away costs nothing but what is dropped. Ids are not drawn: a span is named as the
//! call log's record and the `traceparent` that the remote was sent.

mod exporter;
mod lines;
mod otlp;
mod queue;
mod settings;

pub use exporter::Exporter;
pub use lines::Lines;
pub use settings::Settings;
