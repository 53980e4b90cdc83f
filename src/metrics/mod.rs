//! What is counted while the service runs, and how that is written for Prometheus.
//!
//! The rooms that do the work hold handles ([`SourceMeter`], [`RouteMeter`], [`RemoteMeter`]) which they were
//! given at their start: counting is one atomic addition, without a lock, an allocation or a search for
//! labels. What the engine or a governor knows anyway is not counted here a second time: it is read when
//! somebody asks.
//!
//! [`catalog`] names every metric once, with its kind, its labels and its help; [`Page`] writes no other.
//! Labels have few values (sources, routes, remotes, states), and never a key.
//!
//! A metric more is a row of the catalog, a row of `docs/metrics.md`, and whoever writes it in
//! `app/vitals`. This room opens no port and reads no clock but the monotonic one.

pub mod catalog;
mod definition;
mod instrument;
mod meters;
mod page;
mod pulse;

pub use definition::{Definition, Kind};
pub use instrument::{Counter, Gauge, Histogram, LastTime};
pub use meters::{CallEnd, Class, Meters, OutcomeKind, RemoteMeter, RouteMeter, SourceMeter, TargetMeter};
pub use page::{Family, Page};
pub use pulse::Pulse;
