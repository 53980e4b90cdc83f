//! A committed row becomes its calls: what is sent, in what order, and what is not.

mod calls;
mod columns;
mod tables;
mod types;
mod unchanged;
