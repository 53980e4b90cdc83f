//! Whatever ends the program, the connection or the server: it goes on where it was, and nothing
//! is applied twice. (Random kills under load are in `convergence`.)

mod binding;
mod connections;
mod lost_slot;
mod stops;
