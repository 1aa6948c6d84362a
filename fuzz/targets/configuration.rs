//! A configuration file: it is read, or every mistake in it is said, and no
//! mistake repeats a password.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use gnomon::configuration::Configuration;
use gnomon_databases::database_url::DatabaseUrl;
use libfuzzer_sys::fuzz_target;

/// Each process has its own.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let name = format!("gnomon-fuzz-{}.toml", std::process::id());
    std::env::temp_dir().join(name)
});
/// As it stands in a URL; elsewhere the word is no secret.
const PASSWORD: &str = ":hunter2@";

fuzz_target!(|bytes: &[u8]| {
    std::fs::write(&*FILE, bytes).expect("the temporary directory can be written");
    match Configuration::load(&FILE) {
        Ok(configuration) => {
            for url in [configuration.events, configuration.read_models] {
                // In the name of a file it is no secret.
                if let DatabaseUrl::Postgres(url) = url {
                    assert!(!format!("{url} {url:?}").contains(PASSWORD));
                }
            }
        }
        Err(refusal) => {
            assert!(!refusal.to_string().is_empty());
            assert!(!format!("{refusal:?}").contains("\0"));
        }
    }
});
