//! The `gputcp` command. Its code is in the library beside it, where tests reach it.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    gputcp_cli::main()
}
