//! The binary: the command line with the classes that come with Rowcall.

use std::process::ExitCode;

fn main() -> ExitCode {
    rowcall::cli::main(rowcall::synchronize::Classes::standard())
}
