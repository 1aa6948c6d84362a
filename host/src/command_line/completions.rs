//! `gnomon completions`: completions for the user's shell.

use std::io::Write as _;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{CommandLine, output};

/// Prints completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon completions bash > /etc/bash_completion.d/gnomon
  gnomon completions zsh > ~/.zfunc/_gnomon
  gnomon completions fish > ~/.config/fish/completions/gnomon.fish")]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> anyhow::Result<()> {
        // Made in memory first: clap panics when its writer fails.
        let mut script = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut CommandLine::command(),
            "gnomon",
            &mut script,
        );
        output::stdout().write_all(&script)?;
        Ok(())
    }
}
