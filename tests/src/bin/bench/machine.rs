//! What the figures were taken on.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};
use gnomon_tests::harness::{Installation, System};
use serde::Serialize;
use sqlx::{Executor as _, Row as _};

use crate::databases::{runtime, server};

/// The machine, and the versions of what runs on it.
#[derive(Serialize)]
pub(crate) struct Machine {
    processor: String,
    cores: usize,
    memory_bytes: u64,
    gnomon: String,
    rustc: String,
    postgresql: String,
    sqlite: &'static str,
}

impl Machine {
    pub(crate) fn look() -> Result<Self> {
        let postgresql = runtime()?.block_on(async {
            let row = server().await?.fetch_one("SHOW server_version").await?;
            anyhow::Ok(row.try_get(0)?)
        })?;
        let installation = Installation::new(System::Sqlite, System::Sqlite);
        Ok(Self {
            processor: line_of("/proc/cpuinfo", "model name")
                .unwrap_or_else(|| "an unknown processor".to_owned()),
            cores: std::thread::available_parallelism()?.get(),
            memory_bytes: memory()
                .context("/proc/meminfo does not say how much memory there is")?,
            gnomon: version(&mut installation.command(&["--version"]))?,
            rustc: version(Command::new("rustc").arg("--version"))?,
            postgresql,
            sqlite: rusqlite::version(),
        })
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            processor,
            cores,
            memory_bytes,
            gnomon,
            rustc,
            postgresql,
            sqlite,
        } = self;
        let gibibytes = memory_bytes >> 30;
        write!(
            formatter,
            "{cores} cores of {processor}, {gibibytes} GiB of memory\n\
             {gnomon}, {rustc}, PostgreSQL {postgresql} on the same machine, SQLite {sqlite}"
        )
    }
}

fn memory() -> Option<u64> {
    let line = line_of("/proc/meminfo", "MemTotal")?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// What a file of lines `key: value` says of a key.
fn line_of(file: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(found, _)| found.trim() == key)?;
    Some(value.trim().to_owned())
}

fn version(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
