//! What must not get out, and what must not get in: passwords, and native code
//! of somebody else.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use gnomon_tests::harness::{Finished, Installation, System};

const PASSWORD: &str = "hunter2-is-secret";

fn keeps_the_password(finished: &Finished, when: &str) {
    let said = format!("{}{}", finished.stdout, finished.stderr);
    assert!(!said.contains(PASSWORD), "{when}: {said}");
    assert!(
        !said.contains("hunter2"),
        "{when}, in part or encoded: {said}"
    );
}

/// Every way to ask for a database, with all logs.
#[test]
fn a_password_never_gets_out() {
    let server = std::env::var("GNOMON_TEST_POSTGRES_URL").unwrap();
    let place = server.rsplit('@').next().unwrap();
    for (url, when) in [
        (
            format!("postgres://postgres:{PASSWORD}@127.0.0.1:1/events"),
            "an unreachable server",
        ),
        (
            format!("postgres://nobody_at_all:{PASSWORD}@{place}"),
            "a wrong user and password",
        ),
        (
            format!("postgres://postgres@127.0.0.1:1/events?password={PASSWORD}"),
            "a password in the query",
        ),
        (
            format!("postgres://postgres:{PASSWORD}@127.0.0.1:99999/events"),
            "an impossible port",
        ),
        (
            format!("postgres://postgres:{PASSWORD}@127.0.0.1:1/events?sslmode=nonsense"),
            "an unknown TLS mode",
        ),
        (
            format!("mysql://root:{PASSWORD}@127.0.0.1/events"),
            "another system",
        ),
        (
            format!("postgres://postgres:{PASSWORD}@[::1/events"),
            "an address that does not end",
        ),
    ] {
        for key in ["events", "read-models"] {
            let other = if key == "events" {
                "read-models"
            } else {
                "events"
            };
            let installation = Installation::new(System::Sqlite, System::Sqlite)
                .with_examples()
                .with_variable("GNOMON_LOG", "trace");
            let configuration =
                format!("[{key}]\nurl = '{url}'\n[{other}]\nurl = 'sqlite:other.db'\n");
            fs::write(installation.path("gnomon.toml"), configuration).unwrap();
            for command in [&["status"][..], &["status", "--json"], &["events"]] {
                if key == "read-models" && command == ["events"] {
                    continue;
                }
                let finished = installation.run(command);
                // The log has whatever the drivers say of the connection.
                assert!(!finished.stderr.is_empty(), "{when}, {command:?}");
                keeps_the_password(&finished, &format!("{when}, {key}, {command:?}"));
            }
        }
    }
}

#[test]
fn a_mistake_beside_a_password_does_not_show_it() {
    for (configuration, when) in [
        (
            format!("[events]\nurl = 'postgres://u:{PASSWORD}@h/e\n"),
            "a text that does not end",
        ),
        (
            format!("[events]\nurl = postgres://u:{PASSWORD}@h/e\n"),
            "a URL without quotes",
        ),
        (
            format!("[events]\nurll = 'postgres://u:{PASSWORD}@h/e'\n"),
            "an unknown key",
        ),
        (
            format!("[events]\nurl = ['postgres://u:{PASSWORD}@h/e']\n"),
            "a list",
        ),
    ] {
        let installation = Installation::new(System::Sqlite, System::Sqlite);
        fs::write(installation.path("gnomon.toml"), configuration).unwrap();
        let finished = installation.run(&["status"]);
        assert_ne!(finished.code, Some(0), "{when}: {finished:?}");
        keeps_the_password(&finished, when);
    }
    let installation = Installation::new(System::Sqlite, System::Sqlite).with_variable(
        "GNOMON_EVENTS_URL",
        format!("mysql://root:{PASSWORD}@127.0.0.1/events"),
    );
    let finished = installation.run(&["status"]);
    assert_ne!(finished.code, Some(0), "{finished:?}");
    keeps_the_password(&finished, "a variable");
}

/// Whoever can write there could run code in the host.
#[test]
fn a_cache_of_native_code_that_others_may_read_is_not_used() {
    for (mode, is_used) in [
        (0o700, true),
        (0o750, false),
        (0o701, false),
        (0o777, false),
    ] {
        let installation = Installation::new(System::Sqlite, System::Sqlite).with_examples();
        installation.append_orders(300, 12);
        let cache = installation.path("cache/gnomon");
        fs::create_dir_all(&cache).unwrap();
        fs::set_permissions(&cache, fs::Permissions::from_mode(mode)).unwrap();
        let finished = installation
            .command(&["run", "--until-caught-up"])
            .env("XDG_CACHE_HOME", installation.path("cache"))
            .output()
            .unwrap();
        let stderr = String::from_utf8(finished.stderr).unwrap();
        assert!(finished.status.success(), "{mode:o}: {stderr}");
        let files = fs::read_dir(&cache).unwrap().count();
        assert_eq!(files > 0, is_used, "{mode:o}: {files} files");
        assert_eq!(stderr.contains("chmod 700"), !is_used, "{mode:o}: {stderr}");
        installation.assert_rows_are_right(&format!("with a cache of mode {mode:o}"));
    }
}
