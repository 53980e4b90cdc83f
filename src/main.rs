//! The binary: the command line with the classes that come with Rowcall.

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// What one thread allocates another frees, change after change: this takes a fifth of the time
/// off a delivery (docs/performance.md).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    rowcall::cli::main(rowcall::synchronize::Classes::standard())
}
