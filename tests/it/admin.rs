//! The admin address: everything an operator asks there is answered as its own document says, by who may
//! ask it.

mod api;
mod ask;
mod pages;
mod pausing;
mod who;
mod wrong;
