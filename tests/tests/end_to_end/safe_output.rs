//! Nothing that others wrote steers the terminal on which it is shown: names of
//! events and streams, what a guest says, and what is in a row.

use std::time::Duration;

use gnomon_tests::harness::{Installation, System, guest};

use crate::hostile::harmless;

const LIMIT: Duration = Duration::from_secs(30);
/// Clears the screen, forges a line, turns the direction of writing.
const BAD: &str = "\u{1b}[2J\u{9b}31m\u{202e}\r\nerror: forged\u{7f}";

#[test]
fn what_others_wrote_does_not_steer_the_terminal() {
    for system in [System::Sqlite, System::Postgres] {
        let installation = Installation::new(system, system)
            .with_module("guest.wasm", &guest("abuses"))
            .with_configuration("[projection.abuses]\non-error = 'park'\n");
        let stream = format!("Abuse-{BAD}");
        for event_type in ["RejectsInControlCharacters", BAD] {
            let data = serde_json::json!({ "text": BAD }).to_string();
            let appended = installation.run(&[
                "append", "--stream", &stream, "--type", event_type, "--data", &data,
            ]);
            harmless(&appended.stdout, "append");
            assert_eq!(appended.stdout.lines().count(), 1, "{}", appended.stdout);
        }
        let host = installation.run(&["run", "--until-caught-up"]);
        harmless(&host.stdout, "run");
        harmless(&host.stderr, "run");
        for arguments in [
            &["events"][..],
            &["events", "--stream", &stream],
            &["events", "--json"],
            &["status"],
            &["status", "--json"],
            &["dead-letters", "list", "abuses"],
            &["dead-letters", "list", "abuses", "--json"],
            &["status", BAD],
            &["inspect", BAD],
        ] {
            let when = format!("{arguments:?} on {system:?}");
            let shown = installation.run(arguments);
            harmless(&shown.stdout, &when);
            harmless(&shown.stderr, &when);
            let all = shown.stdout + &shown.stderr;
            assert!(!all.is_empty(), "{when}: nothing was shown");
            assert!(
                !all.lines().any(|line| line.starts_with("error: forged")),
                "{when}: {all}"
            );
        }
        // Escaped, it says the same.
        for arguments in [&["events"][..], &["dead-letters", "list", "abuses"]] {
            for event in installation.json_lines(arguments) {
                assert_eq!(event["stream_id"], stream, "{event}");
                assert_eq!(event["data"]["text"], BAD, "{event}");
            }
        }
    }
}

#[test]
fn no_line_of_what_a_guest_says_looks_like_one_of_ours() {
    for system in [System::Sqlite, System::Postgres] {
        let installation =
            Installation::new(system, system).with_module("guest.wasm", &guest("abuses"));
        let append = |event_type: &str| {
            installation.append("Abuse-1", event_type, &serde_json::json!({}));
        };
        append("Counts");
        installation.succeed(&["run", "--until-caught-up"]);
        append("RejectsInControlCharacters");
        let host = installation.start_host();
        let status =
            installation.wait_for_status("abuses", LIMIT, |status| status["state"] == "halted");
        let cause = status["cause"].as_str().unwrap();
        let (_, second_line) = cause.split_once('\n').unwrap();
        assert!(second_line.starts_with("no"), "{cause}");
        for arguments in [
            &["status"][..],
            &["status", "--check"],
            &["wait", "abuses"],
            &["rebuild", "abuses", "--wait"],
            &["status"],
        ] {
            let shown = installation.run(arguments);
            let all = shown.stdout + &shown.stderr;
            assert!(all.contains("\n    no"), "{arguments:?}: {all}");
            assert!(!all.contains("\nno"), "{arguments:?}: {all}");
        }
        let (finished, _) = host.terminate(LIMIT);
        let ended = installation.run(&["run", "--until-caught-up"]);
        for shown in [finished, ended] {
            let all = shown.stdout + &shown.stderr;
            assert!(all.contains("\n    no"), "{all}");
            assert!(!all.contains("\nno"), "{all}");
        }
    }
}
