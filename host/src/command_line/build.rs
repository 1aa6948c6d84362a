//! `gnomon build`: a projection's source to a component.

use std::io::Write as _;
use std::path::PathBuf;

use serde_json::json;

use super::{Context, style};
use crate::toolchain;

/// Builds a projection's source to a component
///
/// The wasm toolchain is found by itself; where none works, the error says
/// what to install.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon build                                    the projection in this directory
  gnomon build order-summary -o projections/order-summary.wasm")]
pub(super) struct Build {
    /// The directory of the source
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// Where to put the component [default: its folder's name.wasm, in DIR]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Build {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let built = toolchain::build(&self.directory, self.output.as_deref())?;
        let mut stdout = anstream::stdout();
        if context.json {
            let shown = json!({ "file": built.path, "bytes": built.bytes });
            writeln!(stdout, "{shown}")?;
        } else {
            let bytes = style::grouped(built.bytes as u64);
            writeln!(stdout, "built {} ({bytes} bytes)", built.path.display())?;
        }
        Ok(())
    }
}
