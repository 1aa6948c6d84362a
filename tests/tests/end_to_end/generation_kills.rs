//! Hosts that are killed at any moment of deployments, rebuilds, promotions,
//! rollbacks and removals leave one live generation with the right rows,
//! nothing that nobody needs, and readers who never noticed.

use std::time::Duration;

use gnomon_tests::harness::{Chance, Feed, Installation, Readers, Spending, System, rounds};

/// Rounds on each of the two systems.
const ROUNDS: u64 = 50;
const EVENTS: usize = 3_000;
/// A command that waits for a host which was killed gives up after this.
const COMMAND_TIMEOUT: &str = "300ms";

#[test]
fn fifty_kills_of_hosts_that_change_generations_leave_one_that_is_right_on_sqlite() {
    kill_at_random_moments(System::Sqlite);
}

#[test]
fn fifty_kills_of_hosts_that_change_generations_leave_one_that_is_right_on_postgres() {
    kill_at_random_moments(System::Postgres);
}

fn kill_at_random_moments(system: System) {
    let mut chance = Chance::new();
    let seed = chance.seed;
    let installation = Installation::new(system, system)
        .with_variable("GNOMON_LIMITS_BATCH_EVENTS", 100)
        .with_variable("GNOMON_LIMITS_BUILD_WINDOW", "1KiB")
        .with_variable("GNOMON_LIMITS_LEASE_TIME", "500ms");
    installation.append_orders(EVENTS, seed);
    Spending::version(1).deploy(&installation, &[]);
    installation.succeed(&["run", "--until-caught-up"]);
    let feed = Feed::start(&installation.events, seed + 1, Duration::from_millis(100));
    let readers = Readers::start(&installation.read_models);
    let mut kills_with_a_candidate = 0;
    for round in 0..rounds(ROUNDS) {
        let host = installation.start_host();
        let commands: Vec<Vec<String>> = (0..chance.number(1..4))
            .map(|_| command(&installation, &mut chance))
            .collect();
        let moment = chance.time(0..400);
        let killed = std::thread::scope(|scope| {
            scope.spawn(|| {
                for arguments in &commands {
                    give(&installation, arguments, round, seed);
                }
            });
            std::thread::sleep(moment);
            host.kill()
        });
        assert_eq!(killed.code, None, "round {round}, seed {seed}: {killed:?}");
        assert!(!killed.stderr.contains("panicked"), "{}", killed.stderr);
        // There is one live generation at any moment.
        let _ = installation.live();
        kills_with_a_candidate += u64::from(installation.candidate().is_some());
        readers.check();
    }
    println!("{system:?}: {kills_with_a_candidate} kills left a candidate");
    let _ = feed.end();
    let _host = installation.start_host();
    // One that is held would wait for ever.
    let _ = installation.run(&["remove", "spending", "--candidate"]);
    installation.wait_for_generations("at rest", |all| {
        all.iter()
            .all(|found| {
                ["live", "retired"].contains(&found.state.as_str()) && found.goal == "rest"
            })
            .then_some(())
    });
    // What was promoted only just now leaves one too many, for some seconds.
    installation.wait_for_generations("one retired generation is kept", |all| {
        (all.len() <= 2).then_some(())
    });
    installation.wait_until_tidy();
    installation.wait_for("spending", installation.head());
    let answers = readers.end();
    println!("{system:?}: {answers} answers");
    let all = installation.spending_generations();
    let version = installation.live().version;
    Spending::version(version).assert_right(&installation, &format!("seed {seed}"));
    // What was left of the other one is whole: readers may go back to it.
    if all.len() == 2 {
        installation.succeed(&["rollback", "spending", "--timeout", "120s"]);
        let version = installation.live().version;
        Spending::version(version)
            .assert_right(&installation, &format!("after a rollback, seed {seed}"));
    }
}

/// Something that users do.
fn command(installation: &Installation, chance: &mut Chance) -> Vec<String> {
    let timeout = ["--timeout", COMMAND_TIMEOUT];
    let line: Vec<&str> = match chance.number(0..10) {
        0..4 => {
            let number = chance.number(1..5);
            let version = Spending::version(u32::try_from(number).unwrap());
            let file = format!("spending-{number}.wasm");
            std::fs::write(installation.path(&file), version.module()).unwrap();
            let hold = if chance.number(0..4) == 0 {
                " --hold"
            } else {
                ""
            };
            return format!("deploy {file}{hold}")
                .split(' ')
                .map(str::to_owned)
                .collect();
        }
        4..6 => vec!["rebuild", "spending"],
        6 => vec!["rebuild", "spending", "--hold"],
        7 => [&["promote", "spending"], &timeout[..]].concat(),
        8 => [&["rollback", "spending"], &timeout[..]].concat(),
        _ => vec!["remove", "spending", "--candidate"],
    };
    line.into_iter().map(str::to_owned).collect()
}

/// Gives a command, which may be refused, but not fail in another way.
fn give(installation: &Installation, arguments: &[String], round: u64, seed: u64) {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let finished = installation.run(&arguments);
    let is_well = matches!(finished.code, Some(0 | 1)) && !finished.stderr.contains("panicked");
    assert!(
        is_well,
        "round {round}, seed {seed}: gnomon {arguments:?}: {finished:?}"
    );
}
