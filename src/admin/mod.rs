//! The operator's surface: an HTTP server on the admin address that says how everything stands and does
//! what an operator asks.
//!
//! [`Vitals`] is the port for whatever keeps watch over the process; [`Desk`] is the one for operators: what can be asked and done. `app` implements it over what the commands use,
//! so that both say and do the same; [`view`] is how things look through it.
//!
//! A request passes the guard first (who is it, may they, could a web page elsewhere have sent it),
//! then the API finds its endpoint, which is at once what is served and what the OpenAPI document
//! says. Whatever changes something is written down before and after it is done. The dashboard shows
//! the same to a browser, and does it by the same endpoints.
//!
//! Upholds invariants 5 (requests, bodies, query strings and answers are bounded) and 7 (what is shown
//! was redacted before, and a token is never told). It holds no state of its own but an
//! hour of samples for the graphs: two instances say the same.
//!
//! A new endpoint is a row in one of the tables below `api`; a new page one in that of `dashboard`.

mod api;
mod dashboard;
mod desk;
mod guard;
mod hands;
mod problem;
mod server;
mod settings;
mod tls;
pub mod view;
mod vitals;

pub use desk::{Desk, DeskError, RunWanted};
pub use server::{Admin, Service, StartError};
pub use settings::{Fault, Listen, Settings, Tls, check};
pub use tls::certificates;
pub use vitals::Vitals;
