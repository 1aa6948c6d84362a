//! The `gnomon` command.

use std::process::ExitCode;

use clap::Parser as _;
use gnomon::command_line::CommandLine;

/// Each event and each cell is an allocation or two, which the system's
/// allocator takes a tenth of a rebuild for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    CommandLine::parse().run()
}
