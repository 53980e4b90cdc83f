//! How remotes are told who we are: each scheme through the built program.

mod certificates;
mod schemes;
mod secrets;
mod tokens;
