//! The `gnomon` command.

use std::process::ExitCode;

use clap::Parser as _;
use gnomon::command_line::CommandLine;

fn main() -> ExitCode {
    CommandLine::parse().run()
}
