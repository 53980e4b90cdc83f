//! What every `StateStore` promises, as one suite that runs on both: the fake must not be kinder
//! than the real one, or what the engine's tests prove is worth nothing.

mod clauses;
mod lease;
mod postgres;
mod samples;
mod schedules;
