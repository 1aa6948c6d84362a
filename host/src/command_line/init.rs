//! `gnomon init`: a configuration and an empty directory for projections.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::json;

use super::{Context, output};
use crate::configuration;

/// Creates a gnomon.toml and an empty projections directory
///
/// Never overwrites a gnomon.toml. With --events, creates the event store that the
/// configuration names; the first `gnomon append` does so too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon init            here
  gnomon init shop       in the directory shop, which is created if it is missing
  gnomon init --events   the tables for events, where gnomon.toml says")]
pub(super) struct Init {
    /// Where to create them
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// Creates the tables for events, if they are missing, and nothing else
    #[arg(long, conflicts_with = "directory")]
    events: bool,
}

impl Init {
    /// Makes them, and says where.
    ///
    /// # Errors
    /// When there is a gnomon.toml already, or the directory cannot be written.
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        if self.events {
            return make_event_store(context).await;
        }
        let configuration = self.directory.join("gnomon.toml");
        let projections = self.directory.join("projections");
        // Nothing is made where there is a configuration already.
        if configuration.symlink_metadata().is_ok() {
            return Err(already_there(&configuration));
        }
        fs::create_dir_all(&projections)
            .with_context(|| format!("cannot create the directory {}", projections.display()))?;
        write_new(&configuration)?;
        let mut stdout = output::stdout();
        if context.json {
            let made = json!({ "configuration": configuration, "projections": projections });
            writeln!(stdout, "{made}")?;
        } else {
            writeln!(stdout, "created {}", configuration.display())?;
            writeln!(
                stdout,
                "created {}{}",
                projections.display(),
                std::path::MAIN_SEPARATOR
            )?;
        }
        Ok(())
    }
}

async fn make_event_store(context: &Context) -> anyhow::Result<()> {
    let url = &context.configuration()?.events;
    gnomon_event_store::open(url).await?;
    let mut stdout = output::stdout();
    if context.json {
        writeln!(stdout, "{}", json!({ "events": url.to_string() }))?;
    } else {
        writeln!(stdout, "the event store is at {url}")?;
    }
    Ok(())
}

fn write_new(file: &Path) -> anyhow::Result<()> {
    // `create_new` also refuses a file that came into being a moment ago.
    match OpenOptions::new().write(true).create_new(true).open(file) {
        Ok(mut opened) => opened
            .write_all(configuration::template().as_bytes())
            .with_context(|| format!("cannot write {}", file.display())),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(already_there(file)),
        Err(error) => Err(error).with_context(|| format!("cannot create {}", file.display())),
    }
}

fn already_there(file: &Path) -> anyhow::Error {
    anyhow::anyhow!(
        "{} already exists and stays as it is; name another directory, as in `gnomon init DIR`",
        file.display()
    )
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use gnomon_databases::database_url::DatabaseUrl;

    use super::*;
    use crate::configuration::{Configuration, Limits};

    fn init(directory: &Path) -> anyhow::Result<()> {
        let directory = directory.to_owned();
        let init = Init {
            directory,
            events: false,
        };
        let context = Context::new(PathBuf::from("gnomon.toml"), true);
        init.run(&context).now_or_never().unwrap()
    }

    #[test]
    fn what_it_makes_is_a_configuration_with_the_defaults() {
        let directory = tempfile::tempdir().unwrap();
        let shop = directory.path().join("shop");
        init(&shop).unwrap();
        let made = Configuration::load(&shop.join("gnomon.toml")).unwrap();
        assert_eq!(made.events, DatabaseUrl::Sqlite(shop.join("events.db")));
        assert_eq!(made.projections_directory, shop.join("projections"));
        assert_eq!(made.limits, Limits::default());
        assert!(made.projections_directory.is_dir());
    }

    #[test]
    fn it_never_overwrites() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("gnomon.toml");
        fs::write(&file, "mine").unwrap();
        let error = init(directory.path()).unwrap_err().to_string();
        assert!(error.contains("already exists"), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
        assert!(!directory.path().join("projections").exists());
    }
}
