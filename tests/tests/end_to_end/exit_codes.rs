//! An exit code is true: 0 only when what was asked for has happened. A
//! connection of a database may break anywhere, and only the reader of standard
//! output may leave without a word.

use std::collections::BTreeSet;
use std::fs;
use std::io::pipe;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_tests::harness::{
    Database, Declaration, Finished, HangUp, Host, Installation, PATIENCE, Point, Proxy, Server,
    Stop, System, component, guest,
};
use serde_json::json;

const SYSTEMS: [System; 2] = [System::Sqlite, System::Postgres];
const NAME: &str = "picky";
/// What `diff`, `verify` and the like may take.
const BRIEFLY: &str = "500ms";

/// `picky` with some notes, live.
fn installation(system: System) -> Installation {
    let installation = Installation::in_one_database(system);
    for number in 0..3 {
        note(&installation, number, None);
    }
    fs::write(installation.path("module.wasm"), guest(NAME)).unwrap();
    installation.deploy(&guest(NAME), &[]);
    installation.succeed(&["run", "--until-caught-up"]);
    installation
}

fn note(installation: &Installation, number: usize, fault: Option<&str>) {
    let data = json!({"note": number.to_string(), "fault": fault});
    installation.append("Note-a", "Noted", &data);
}

/// A file with one event that is new.
fn event_file(installation: &Installation, number: usize) -> PathBuf {
    let path = installation.path(&format!("events-{number}.ndjson"));
    let line = format!(
        "{{\"event_id\": \"0190a5a0-7c00-7000-8000-{number:012}\", \"stream_id\": \"File-{number}\", \
         \"event_type\": \"Filed\", \"data\": {{}}}}\n"
    );
    fs::write(&path, line).unwrap();
    path
}

fn says(host: &Host, sentence: &str) {
    let started = Instant::now();
    while !host.log().contains(sentence) {
        assert!(started.elapsed() < PATIENCE, "not said: {}", host.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Every command that uses a database, and what it prints when it has done what
/// it was asked for.
fn commands_of_databases(event_file: &str) -> Vec<(Vec<&str>, &'static str)> {
    let timed = |command: &'static str| vec![command, NAME, "--timeout", BRIEFLY];
    vec![
        (
            vec!["append", "--stream", "S-1", "--type", "T", "--data", "{}"],
            "of stream S-1",
        ),
        (vec!["append", "--file", event_file], "imported"),
        (vec!["events"], "Noted"),
        (vec!["status"], NAME),
        (timed("wait"), "is at position"),
        (vec!["pause", NAME], "paused"),
        (vec!["resume", NAME], "running"),
        (vec!["rebuild", NAME, "--hold"], "generation"),
        (timed("diff"), "at position"),
        (timed("promote"), "readers see it now"),
        (timed("rollback"), "readers see it now"),
        // Without a host nothing is built.
        (
            vec!["rebuild", NAME, "--wait", "--timeout", BRIEFLY],
            "readers see it now",
        ),
        (timed("verify"), "at position"),
        (vec!["deploy", "module.wasm"], NAME),
        (vec!["history"], "deployed"),
        (vec!["dead-letters", "list", NAME], "no dead letters"),
        (vec!["dead-letters", "retry", NAME], NAME),
        (vec!["remove", NAME, "--candidate"], "is dropped"),
        (vec!["remove", NAME], "removed"),
        (vec!["resume", NAME], "running"),
    ]
}

#[test]
fn no_command_takes_the_end_of_a_database_connection_for_success() {
    let installation = installation(System::Postgres);
    let proxy = HangUp::before(&installation.events.url());
    let url = proxy.url(&installation.events.url());
    let run = |arguments: &[&str]| {
        let mut command = installation.command(arguments);
        command
            .env("GNOMON_EVENTS_URL", &url)
            .env("GNOMON_READ_MODELS_URL", &url);
        installation.run_command(command)
    };
    for (round, word) in [1, 2, 3, 4, 6, 9].into_iter().enumerate() {
        proxy.at_word(word);
        let file = event_file(&installation, round);
        for (arguments, result) in commands_of_databases(file.to_str().unwrap()) {
            let ended = run(&arguments);
            match ended.code {
                Some(0) => assert!(
                    word > 1 && ended.stdout.contains(result),
                    "the connection broke at word {word}: {arguments:?}: {ended:?}"
                ),
                Some(1) => assert!(
                    !ended.stderr.trim().is_empty() || arguments[0] == "verify",
                    "nothing is said at word {word}: {arguments:?}: {ended:?}"
                ),
                _ => panic!("{arguments:?}: {ended:?}"),
            }
        }
    }
    proxy.at_word(1);
    let ended = run(&["run", "--until-caught-up"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("error: "), "{ended:?}");
    // Nothing of this is the proxy's fault.
    proxy.at_word(usize::MAX);
    let ended = run(&["run", "--until-caught-up"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let ended = run(&["wait", NAME]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn a_server_on_a_unix_socket_that_restarts_ends_no_wait() {
    let server = Server::start_new();
    let database = Database::of_server(&server);
    let url = server.socket_url(&database.url());
    let installation = Installation::in_one_database(System::Sqlite)
        .with_variable("GNOMON_EVENTS_URL", &url)
        .with_variable("GNOMON_READ_MODELS_URL", &url);
    note(&installation, 1, None);
    installation.deploy(&guest(NAME), &[]);
    installation.succeed(&["run", "--until-caught-up"]);
    note(&installation, 2, None);
    let late = installation.start_command(&["wait", NAME, "--position", "999", "--timeout", "8s"]);
    let waiting = installation.start_command(&["wait", NAME, "--timeout", "120s"]);
    let rebuilding = installation.start_command(&["rebuild", NAME, "--wait", "--timeout", "120s"]);
    for command in [&late, &waiting, &rebuilding] {
        says(command, "no host is running");
    }
    server.stop(Stop::Fast);
    for command in [&late, &waiting, &rebuilding] {
        says(command, "the database is out of reach, trying again");
    }
    server.start();
    let ended = late.finish();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("did not reach 999"), "{ended:?}");
    let host = installation.start_host();
    let ended = waiting.finish();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("picky is at position 2"), "{ended:?}");
    let ended = rebuilding.finish();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("readers see it now"), "{ended:?}");
    drop(host);
}

/// Commands that wait, each after what it needs to have something to do, and
/// what they print when they have done it.
const WAITING: [(&[&str], &[&str], &str); 6] = [
    (
        &[],
        &["rebuild", NAME, "--wait", "--timeout", "90s"],
        "readers see it now",
    ),
    (
        &["rebuild", NAME, "--hold"],
        &["diff", NAME, "--timeout", "90s"],
        "at position",
    ),
    (
        &[],
        &["promote", NAME, "--timeout", "90s"],
        "readers see it now",
    ),
    (
        &[],
        &["rollback", NAME, "--timeout", "90s"],
        "readers see it now",
    ),
    (&[], &["verify", NAME, "--timeout", "90s"], "at position"),
    (&[], &["wait", NAME, "--timeout", "90s"], "is at position"),
];

/// Generations that were made, with their goals.
fn made(installation: &Installation) -> Vec<(i64, String)> {
    let rows = installation
        .read_models
        .rows("SELECT id, goal FROM gnomon.generations");
    rows.into_iter()
        .map(|row| {
            (
                row[0].as_ref().unwrap().parse().unwrap(),
                row[1].clone().unwrap(),
            )
        })
        .collect()
}

#[test]
fn a_connection_that_breaks_ends_no_command_that_waits() {
    let installation = installation(System::Postgres);
    let host = installation.start_host();
    let proxy = HangUp::before(&installation.events.url());
    let url = proxy.url(&installation.events.url());
    for word in [1, 2, 3, 4, 5, 6, 8, 11, 15, 20, 26] {
        for (before, arguments, result) in WAITING {
            if !before.is_empty() {
                installation.succeed(before);
            }
            let last = made(&installation)
                .into_iter()
                .map(|(id, _)| id)
                .max()
                .unwrap();
            proxy.once_at_word(word);
            let mut command = installation.command(arguments);
            command
                .env("GNOMON_EVENTS_URL", &url)
                .env("GNOMON_READ_MODELS_URL", &url);
            let ended = installation.run_command(command);
            assert!(
                ended.code == Some(0) && ended.stdout.contains(result),
                "the connection broke at word {word}: {arguments:?}: {ended:?}"
            );
            let new: Vec<_> = made(&installation)
                .into_iter()
                .filter(|(id, _)| *id > last)
                .collect();
            let expected = match arguments[0] {
                "rebuild" => 1,
                _ => 0,
            };
            assert_eq!(
                new.iter().filter(|(_, goal)| goal != "compare").count(),
                expected,
                "the connection broke at word {word}: {arguments:?}: {new:?}"
            );
        }
    }
    drop(host);
}

#[test]
fn commands_that_wait_begin_while_the_server_is_away() {
    let server = Server::start_new();
    let database = Arc::new(Database::of_server(&server));
    let installation = Installation::on(Arc::clone(&database), Arc::clone(&database));
    note(&installation, 1, None);
    fs::write(installation.path("module.wasm"), guest(NAME)).unwrap();
    installation.deploy(&guest(NAME), &[]);
    installation.succeed(&["run", "--until-caught-up"]);
    installation.succeed(&["rebuild", NAME, "--hold"]);
    installation.succeed(&["run", "--until-caught-up"]);
    server.stop(Stop::Fast);
    // Who does not wait is told at once, and who waits when the time is up.
    for arguments in [
        &["status"][..],
        &["pause", NAME],
        &["rebuild", NAME],
        &["deploy", "module.wasm"],
    ] {
        let said = installation.fail(arguments, &["error: "]);
        assert!(!said.contains("trying again"), "{arguments:?}: {said}");
    }
    for command in ["diff", "verify", "promote", "rollback"] {
        installation.fail(
            &[command, NAME, "--timeout", BRIEFLY],
            &[
                "out of reach, trying again",
                "was out of reach when 500ms were up",
            ],
        );
    }
    let commands = [
        &["diff", NAME][..],
        &["verify", NAME, "--timeout", "120s"],
        &["deploy", "module.wasm", "--wait"],
    ];
    let started = commands.map(|arguments| installation.start_command(arguments));
    for command in &started {
        says(command, "the database is out of reach, trying again");
    }
    server.start();
    database.reconnect();
    let host = installation.start_host();
    for (arguments, command) in commands.iter().zip(started) {
        // The candidate is held, so nobody waits for readers to see it.
        let expected = i32::from(arguments[0] == "deploy");
        let ended = command.finish();
        assert_eq!(ended.code, Some(expected), "{arguments:?}: {ended:?}");
        assert_eq!(
            ended.stderr.matches("trying again").count(),
            1,
            "{arguments:?}: {ended:?}"
        );
        assert!(
            expected == 0 || ended.stderr.contains("`gnomon promote picky`"),
            "{ended:?}"
        );
    }
    drop(host);
}

/// The server has done what it was asked for, and the command does not hear it.
#[test]
fn what_was_done_when_the_connection_broke_is_not_done_twice() {
    let installation = installation(System::Postgres);
    let direct = installation.events.url();
    let proxy = Proxy::before(&direct);
    let url = proxy.url(&direct);
    let run = |arguments: &[&str]| {
        proxy.arm(Point::BeforeAcknowledgement, || {});
        let mut command = installation.command(arguments);
        command.env("GNOMON_READ_MODELS_URL", &url);
        let ended = installation.run_command(command);
        assert!(!proxy.disarm(), "nothing broke: {arguments:?}: {ended:?}");
        ended
    };
    // Who does not wait is told.
    let ended = run(&["rebuild", NAME]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(made(&installation).len(), 2);
    let host = installation.start_host();
    installation.wait_for_status(NAME, PATIENCE, |status| status["generation"] == 2);
    let says_what_broke = |ended: &Finished, what: &str| {
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains("readers see it now"), "{ended:?}");
        assert!(
            ended.stderr.contains("out of reach, trying again") && ended.stderr.contains(what),
            "{ended:?}"
        );
    };
    let ended = run(&["rebuild", NAME, "--wait", "--timeout", "90s"]);
    says_what_broke(&ended, "make a generation");
    assert_eq!(made(&installation).len(), 3);
    installation.succeed(&["rebuild", NAME, "--hold"]);
    let ended = run(&["promote", NAME, "--timeout", "90s"]);
    says_what_broke(&ended, "set a goal");
    assert_eq!(installation.status(NAME)["generation"], 4);
    drop(host);
}

/// How a command ends whose results nobody reads.
fn run_unread(installation: &Installation, arguments: &[&str]) -> Finished {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let mut command = installation.command(arguments);
    command.stdout(writer).stderr(Stdio::piped());
    let ended = command.output().unwrap();
    Finished {
        code: ended.status.code(),
        stdout: String::new(),
        stderr: String::from_utf8_lossy(&ended.stderr).into_owned(),
        memory: 0,
    }
}

#[test]
fn whether_somebody_reads_its_results_changes_no_exit_code() {
    let installation = installation(System::Sqlite);
    fs::create_dir(installation.path("fixtures")).unwrap();
    let fixture = json!({
        "given": [{"event_type": "Noted", "data": {"note": "x"}}],
        "expect": {},
    });
    fs::write(
        installation.path("fixtures").join("wrong.json"),
        fixture.to_string(),
    )
    .unwrap();
    // Somebody changed a row by hand, and later an event cannot be applied.
    installation
        .read_models
        .execute("UPDATE gnomon_1_seen SET note = 'forged' WHERE position = 2");
    let file = event_file(&installation, 1);
    let commands: Vec<(Vec<&str>, i32)> = vec![
        (vec!["init", "elsewhere"], 0),
        (vec!["new", "spending", "--lang", "javascript"], 0),
        (vec!["build", "nowhere"], 1),
        (vec!["inspect", "module.wasm"], 0),
        (vec!["test", "module.wasm", "--fixtures", "fixtures"], 1),
        (vec!["completions", "bash"], 0),
        (
            vec!["append", "--stream", "S-1", "--type", "T", "--data", "{}"],
            0,
        ),
        (vec!["append", "--file", file.to_str().unwrap()], 0),
        (vec!["events"], 0),
        (vec!["events", "--json"], 0),
        (vec!["status"], 0),
        (vec!["run", "--until-caught-up"], 0),
        (vec!["wait", NAME], 0),
        (vec!["verify", NAME], 1),
        (vec!["rebuild", NAME, "--hold"], 0),
        (vec!["run", "--until-caught-up"], 0),
        (vec!["diff", NAME], 0),
        (vec!["promote", NAME], 0),
        (vec!["rollback", NAME], 0),
        (vec!["history"], 0),
        (vec!["dead-letters", "list", NAME], 0),
        (
            vec![
                "append",
                "--stream",
                "Note-a",
                "--type",
                "Noted",
                "--data",
                "{\"note\": \"x\", \"fault\": \"reject\"}",
            ],
            0,
        ),
        (vec!["run", "--until-caught-up"], 1),
        (vec!["pause", NAME], 0),
        (vec!["resume", NAME], 0),
        (vec!["deploy", "module.wasm"], 0),
        (vec!["remove", NAME], 0),
    ];
    let mut tried = BTreeSet::new();
    for (arguments, code) in commands {
        let ended = run_unread(&installation, &arguments);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:?}");
        assert!(
            !ended.stderr.contains("roken pipe"),
            "{arguments:?}: {ended:?}"
        );
        tried.insert(arguments[0].to_owned());
    }
    assert_eq!(tried, commands_of_help(&installation));
}

/// The commands that `gnomon help` lists.
fn commands_of_help(installation: &Installation) -> BTreeSet<String> {
    let help = installation.succeed(&["--help"]);
    let commands = help.split("Commands:").nth(1).unwrap();
    let commands = commands.split("Options:").next().unwrap();
    commands
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn results_that_cannot_be_written_are_a_failure() {
    let installation = installation(System::Sqlite);
    for arguments in [
        &["status"][..],
        &["events", "--json"],
        &["history", "--json"],
        &["completions", "bash"],
        &["wait", NAME],
    ] {
        let mut command = installation.command(arguments);
        command
            .stdout(
                fs::OpenOptions::new()
                    .write(true)
                    .open("/dev/full")
                    .unwrap(),
            )
            .stderr(Stdio::piped());
        let ended = command.output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("standard output"), "{arguments:?}: {said}");
    }
}

#[test]
fn a_host_works_on_when_nobody_reads_what_it_says() {
    let installation = installation(System::Sqlite);
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let mut command = installation.command(&["run"]);
    command.stdout(Stdio::null()).stderr(writer);
    let mut host = command.spawn().unwrap();
    // Each of them is news for the log.
    for number in 0..3 {
        note(&installation, number, None);
        installation.put_module("junk.wasm", format!("no module {number}").as_bytes());
        installation.wait_for(NAME, installation.head());
    }
    assert!(host.try_wait().unwrap().is_none());
    host.kill().unwrap();
    host.wait().unwrap();
}

#[test]
fn catching_up_has_happened_only_if_everything_has_caught_up() {
    for system in SYSTEMS {
        let ends = |installation: &Installation, code: i32, said: &[&str]| {
            let ended = installation.run(&["run", "--until-caught-up"]);
            assert_eq!(ended.code, Some(code), "{system:?}: {ended:?}");
            for said in said {
                assert!(
                    ended.stdout.contains(said) || ended.stderr.contains(said),
                    "{system:?}: not said: {said}: {ended:?}"
                );
            }
        };
        let installation = installation(system);
        ends(
            &installation,
            0,
            &["serving projection picky", "has caught up with event 3"],
        );
        // A module that this host does not load.
        let small = installation.with_variable("GNOMON_LIMITS_MEMORY", "1MiB");
        ends(&small, 1, &["not caught up: picky"]);
        let installation = small.with_variable("GNOMON_LIMITS_MEMORY", "64MiB");
        // A file that is refused.
        installation.put_module("junk.wasm", b"junk");
        ends(&installation, 1, &["1 module is refused", "junk.wasm"]);
        fs::remove_file(installation.path("projections").join("junk.wasm")).unwrap();
        // One that somebody paused: at the end it is where it was to get, before
        // that it is not.
        installation.succeed(&["pause", NAME]);
        ends(&installation, 0, &[]);
        note(&installation, 4, None);
        ends(
            &installation,
            1,
            &["paused at position 3", "not caught up: picky"],
        );
        installation.succeed(&["resume", NAME]);
        // A candidate that is held is done.
        installation.succeed(&["rebuild", NAME, "--hold"]);
        ends(&installation, 0, &["caught up"]);
        // One that halts is not.
        note(&installation, 5, Some("reject"));
        ends(
            &installation,
            1,
            &["halted on event 5", "not caught up: picky"],
        );
        // What was removed is not wanted.
        installation.deploy(&component(&Declaration::sane("other", "others")), &[]);
        installation.succeed(&["remove", NAME]);
        ends(&installation, 0, &["serving projection other"]);
    }
}

#[test]
fn a_check_of_the_status_finds_what_does_not_work() {
    for system in SYSTEMS {
        let installation = installation(system);
        let check = |more: &[&str], code: i32, said: &str| {
            let ended = installation.run(&[&["status", "--check"], more].concat());
            assert_eq!(ended.code, Some(code), "{system:?}: {ended:?}");
            assert!(ended.stderr.contains(said), "{system:?}: {ended:?}");
            assert!(ended.stdout.contains(NAME), "{system:?}: {ended:?}");
        };
        check(&[], 1, "picky: no host runs it");
        assert_eq!(installation.run(&["status"]).code, Some(0));
        let host = installation.start_host();
        let is_running =
            |status: &serde_json::Value| status["state"] == "running" && status["host"].is_string();
        installation.wait_for_status(NAME, PATIENCE, is_running);
        check(&["--max-lag", "1s"], 0, "");
        // A copy that has got to its end needs nobody.
        installation.succeed(&["rebuild", NAME, "--until", "2", "--as", "early"]);
        installation.succeed(&["wait", "early", "--timeout", "60s"]);
        let early = installation.status("early");
        assert_eq!(early["complete"], true, "{early}");
        assert_eq!(early["state"], "waiting", "{early}");
        assert!(
            early["cause"]
                .as_str()
                .unwrap()
                .contains("complete: it holds all events up to 2"),
            "{early}"
        );
        check(&["--max-lag", "1s"], 0, "");
        // Paused, it needs no host, but it falls behind.
        installation.succeed(&["pause", NAME]);
        let is_paused = |status: &serde_json::Value| status["state"] == "paused";
        installation.wait_for_status(NAME, PATIENCE, is_paused);
        let old = event_file(&installation, 7);
        let line = fs::read_to_string(&old).unwrap();
        let line = line.replace(
            "\"data\"",
            "\"recorded_at\": \"2020-01-01T00:00:00Z\", \"data\"",
        );
        fs::write(&old, line).unwrap();
        installation.succeed(&["append", "--file", old.to_str().unwrap()]);
        check(&[], 0, "");
        check(&["--max-lag", "30s"], 1, "behind, more than 30.0 s");
        installation.succeed(&["resume", NAME]);
        installation.succeed(&["wait", NAME]);
        installation.put_module("junk.wasm", b"junk");
        says(&host, "junk.wasm");
        let started = Instant::now();
        while installation.run(&["status", "--check"]).code == Some(0) {
            assert!(started.elapsed() < PATIENCE);
        }
        check(&[], 1, "junk.wasm is refused");
        fs::remove_file(installation.path("projections").join("junk.wasm")).unwrap();
        note(&installation, 9, Some("reject"));
        let is_halted = |status: &serde_json::Value| status["state"] == "halted";
        installation.wait_for_status(NAME, PATIENCE, is_halted);
        check(&[NAME], 1, "picky: halted on event");
        drop(host);
    }
}

#[test]
fn a_host_says_what_it_serves_and_why_it_ends() {
    let installation = installation(System::Sqlite);
    let host = installation.start_host();
    says(&host, "serving projection picky: events sqlite:");
    let (ended, _) = host.terminate(PATIENCE);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("ended by SIGTERM"), "{ended:?}");
    assert!(!ended.stderr.contains('\u{1b}'), "{ended:?}");
    // Where programs read the log, each line is one of it.
    let ended = installation.run(&["run", "--until-caught-up", "--log-format", "json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for line in ended.stderr.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["message"].is_string(), "{line}");
    }
}

#[test]
fn catching_up_that_is_interrupted_has_not_happened() {
    let installation = Installation::new(System::Sqlite, System::Sqlite);
    note(&installation, 1, None);
    let endless = guest("abuses");
    installation.put_module("abuses.wasm", &endless);
    installation.append("Abuse-1", "LoopsForever", &json!({}));
    let host = installation.start_command(&["run", "--until-caught-up"]);
    says(&host, "serving projection");
    let (ended, _) = host.terminate(PATIENCE);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended
            .stderr
            .contains("SIGTERM came before everything had caught up"),
        "{ended:?}"
    );
}
