//! `gnomon new`: a projection that builds, with its test.

use std::io::Write as _;
use std::path::Path;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use gnomon_workbench::{self as workbench, Content, Language, ProjectName};
use serde_json::json;

use super::{Context, output};

/// Creates a projection that builds, with its tests
///
/// It goes into a new directory of this name, with a README that says what its
/// language needs. Never changes a directory that already exists.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon new spending --lang rust
  gnomon new spending --lang rust --empty     the least that can be built, without the example
  cd spending && gnomon test && gnomon build && cp spending.wasm ../projections/")]
pub(super) struct New {
    /// The name of the projection: a-z, 0-9, _ and -
    #[arg(value_name = "NAME")]
    name: ProjectName,
    /// The language
    #[arg(long = "lang", value_name = "LANGUAGE", value_parser = language())]
    language: Language,
    /// Leaves out the example and its fixtures
    #[arg(long)]
    empty: bool,
}

fn language() -> impl clap::builder::TypedValueParser<Value = Language> {
    PossibleValuesParser::new(Language::ALL.map(Language::name))
        .try_map(|name| name.parse::<Language>())
}

impl New {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let files = workbench::new_project(
            Path::new(""),
            &self.name,
            self.language,
            if self.empty {
                Content::Empty
            } else {
                Content::Example
            },
        )?;
        let mut stdout = output::stdout();
        if context.json {
            let made = json!({
                "directory": self.name.as_str(),
                "language": self.language.name(),
                "files": files,
            });
            writeln!(stdout, "{made}")?;
            return Ok(());
        }
        for file in files {
            writeln!(stdout, "created {}", file.display())?;
        }
        let name = self.name;
        output::say(&format!(
            "next: cd {name} && gnomon test && gnomon build; README.md says what it needs"
        ));
        Ok(())
    }
}
