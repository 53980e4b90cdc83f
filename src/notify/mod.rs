//! Tells whoever is configured when something is not well, and when it is again: a webhook, or a program of the
//! operator's.
//!
//! Terms: a **target** is told; a **notice** is one thing that it is told: a check that is in another state, a run
//! that has ended, or that the service ends since it needs a person.
//!
//! Upholds invariant 5 (what waits for a target is bounded, and the oldest is dropped and counted) and 7 (no
//! credential, no URL of a target and no key of a row is in a notice, a message or what is shown).
//!
//! [`Watcher`] decides, purely, what is to be told to whom: what has lasted long enough and differs from what was
//! told. `queue` keeps the order and leaves out what is overtaken, purely as well. `courier` brings it there, by
//! `webhook` or `program`, and tries again. [`Notifier`] holds them together: `app` shows it the checks, and keeps
//! in the state database what was told.
//!
//! What was told is what was delivered: after a crash a notice may come again, but none is lost. It does not decide
//! what is well: that is [`crate::health`]'s. A new way to tell is a file beside `webhook` and a variant of `Way`.

mod courier;
mod names;
mod notice;
mod notifier;
mod program;
mod queue;
mod settings;
mod told;
mod watcher;
mod webhook;

pub use names::{RUN, SERVICE, names};
pub use notice::{EndedRun, Event, Notice, Subject};
pub use notifier::Notifier;
pub use settings::{Fault, Least, Settings, Target, check};
pub use told::Told;
pub use watcher::{Aim, Telling, Watcher};
