use std::process::ExitCode;

fn main() -> ExitCode {
    rowcall::cli::main(rowcall::synchronize::Classes::standard())
}
