//! The `gnomon` command.

use std::process::ExitCode;

use clap::Parser as _;
use gnomon::command_line::CommandLine;

/// Each event and each cell is an allocation or two, which the system's
/// allocator takes a tenth of a rebuild for. It asks for no huge pages (`no_thp`):
/// with them the kernel clears more memory than a host ever uses.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    CommandLine::parse().run()
}
