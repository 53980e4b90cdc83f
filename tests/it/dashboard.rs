//! The dashboard over plain HTTP, as a browser without JavaScript uses it.

mod browse;
mod login;
mod pages;
mod parked;
