//! The command: parse the line, run it, report how it went.

fn main() -> std::process::ExitCode {
    signet::cli::main()
}
