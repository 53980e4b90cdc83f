//! A change that cannot be sent is taken out of the way, waits with its reason, and goes on when a
//! person says so (invariant 4).

mod desk;
mod filters;
mod reasons;
mod rules;
