//! Files of modules: what is read, under which limits, what stands in `status`
//! of those that are refused, and which are news.

use std::os::unix::fs::symlink;
use std::process::Command;

use gnomon_tests::harness::{Declaration, Installation, PATIENCE, System, component};
use serde_json::{Value, json};

const SYSTEMS: [System; 2] = [System::Sqlite, System::Postgres];
const NAME: &str = "notebook";
const FILE: &str = "notebook.wasm";

fn module() -> Vec<u8> {
    component(&Declaration::sane(NAME, "notes"))
}

fn installation(system: System) -> Installation {
    let installation = Installation::in_one_database(system).with_module(FILE, &module());
    installation.append_orders(10, 61);
    installation
}

#[test]
fn what_is_no_file_is_refused_and_holds_nobody_up() {
    let installation = installation(System::Sqlite);
    let pipe = installation.module_file("pipe.wasm");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let zeros = installation.module_file("zeros.wasm");
    symlink("/dev/zero", &zeros).unwrap();
    let ended = installation.run(&["run", "--until-caught-up"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for said in [
        "pipe.wasm is a pipe, and a module is a regular file",
        "zeros.wasm is a device, and a module is a regular file",
    ] {
        assert!(ended.stderr.contains(said), "{ended:?}");
    }
    assert!(ended.memory < 1 << 30, "{} bytes", ended.memory);
    assert_eq!(installation.status(NAME)["position"], 10);
    for (file, what) in [(&pipe, "is a pipe"), (&zeros, "is a device")] {
        let file = file.to_str().unwrap();
        for command in ["deploy", "inspect", "test"] {
            installation.fail(&[command, file], &[file, what]);
        }
    }
    // A running host is not held up either.
    let _host = installation.start_host();
    installation.wait_for_refusal(&["pipe.wasm is a pipe"]);
    installation.append("Order-1", "OrderPacked", &json!({}));
    installation.wait_for(NAME, 11);
}

#[test]
fn a_module_is_loaded_under_the_same_limits_however_it_arrives() {
    let low = "[limits]\nmemory = '1MiB'\n";
    let enough = "[projection.notebook]\nmemory = '64MiB'\n";
    let refused = "it needs more than 1048576 bytes of memory (limits.memory)";
    let directory = installation(System::Sqlite).with_configuration(low);
    directory.fail(&["run", "--until-caught-up"], &[FILE, refused]);
    let file = directory.module_apart(&module());
    for command in ["deploy", "inspect", "test"] {
        directory.fail(&[command, file], &[file, refused]);
    }
    let directory = directory.with_configuration(enough);
    directory.succeed(&["inspect", file]);
    directory.succeed(&["run", "--until-caught-up"]);
    assert_eq!(directory.deploy(&module(), &[])["action"], "nothing");
}

#[test]
fn why_a_file_is_refused_stays_in_status_until_a_host_takes_another_look() {
    for system in SYSTEMS {
        let installation = installation(system).with_module("broken.wasm", b"\0asm\r\0\x01\0?");
        installation.fail(&["run", "--until-caught-up"], &["broken.wasm is refused"]);
        // No host is there any more.
        let statuses = installation.json_lines(&["status"]);
        assert_eq!(statuses.len(), 2, "{statuses:?}");
        let [found, file] = [&statuses[0], &statuses[1]];
        assert_eq!(found["name"], NAME);
        assert_eq!(file["name"], Value::Null, "{file}");
        let place = file["refused"][0]["place"].as_str().unwrap();
        assert!(place.ends_with("broken.wasm"), "{file}");
        let cause = file["cause"].as_str().unwrap();
        assert!(cause.contains("broken.wasm is refused: "), "{cause}");
        let shown = installation.succeed(&["status"]);
        assert!(shown.contains(cause), "{shown}");

        // So it is with a module whose projection is known.
        let mut declaration = Declaration::sane(NAME, "notes");
        declaration.tables[0].columns.push("colour".to_owned());
        installation.put_module(FILE, &component(&declaration));
        let host = installation.start_host();
        let said = [
            "its table `notes` has a new column `colour`",
            "raise the version",
        ];
        installation.wait_for_refusal(&said);
        let _ = host.kill();
        installation.take_module_away("broken.wasm");
        installation.wait_for_refusal(&said);
        let status = installation.status(NAME);
        assert_eq!(status["refused"].as_array().unwrap().len(), 1, "{status}");
        // A host looks anew.
        installation.put_module(FILE, &module());
        let host = installation.start_host();
        installation.wait_until_nothing_is_refused();
        let (ended, _) = host.terminate(PATIENCE);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        installation.wait_until_nothing_is_refused();
    }
}

#[test]
fn a_file_that_is_written_again_after_a_drop_is_deployed_and_one_that_stayed_is_not() {
    for system in SYSTEMS {
        let installation = installation(system);
        installation.succeed(&["run", "--until-caught-up"]);
        let said = installation.succeed(&["remove", NAME, "--drop"]);
        assert!(said.contains("`gnomon deploy FILE`"), "{said}");
        installation.fail(
            &["resume", NAME],
            &[
                "`notebook` was dropped",
                "`gnomon deploy FILE` builds it again",
            ],
        );
        // It has only stayed.
        installation.fail(
            &["run", "--until-caught-up"],
            &[
                "no projection to run: ",
                FILE,
                "was dropped after it was written",
                "`gnomon deploy ",
            ],
        );
        let shown = installation.succeed(&["status"]);
        assert!(shown.contains("dropped since they were written"), "{shown}");
        // The same bytes, put back.
        installation.put_module(FILE, &module());
        installation.succeed(&["run", "--until-caught-up"]);
        assert_eq!(installation.status(NAME)["position"], 10);

        // And under a host.
        let host = installation.start_host();
        installation.wait_for_status(NAME, PATIENCE, |status| status["host"].is_string());
        installation.succeed(&["remove", NAME, "--drop"]);
        installation.fail(&["status", NAME], &["no projection `notebook`"]);
        installation.swap_module(FILE, &module());
        installation.wait_until_live(NAME, 1);
        // What was removed, and not dropped, waits for `resume`.
        installation.succeed(&["remove", NAME]);
        installation.swap_module(FILE, &module());
        let marker = component(&Declaration::sane("marker", "marks"));
        installation.swap_module("marker.wasm", &marker);
        installation.wait_until_live("marker", 1);
        let status = installation.status(NAME);
        assert_eq!(status["state"], "paused", "{status}");
        installation.succeed(&["resume", NAME]);
        installation.append("Order-1", "OrderPacked", &json!({}));
        installation.wait_for(NAME, 11);
        drop(host);
    }
}

#[test]
fn a_section_of_no_projection_is_named_with_the_one_that_is_meant() {
    let installation = installation(System::Sqlite).with_configuration(
        "[projection.notebok]\non-error = 'park'\n[projection.later]\non-error = 'park'\n",
    );
    let said = [
        "[projection.notebok] is set, and no projection of that name is deployed; did you mean \
         `notebook`?",
        "[projection.later] is set, and no projection of that name is deployed",
    ];
    let ended = installation.run(&["run", "--until-caught-up"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let status = installation.run(&["status"]);
    for said in said {
        assert!(ended.stderr.contains(said), "{ended:?}");
        assert!(status.stderr.contains(said), "{status:?}");
    }
    // One that arrives is no mistake.
    let later = component(&Declaration::sane("later", "laters"));
    installation.put_module("later.wasm", &later);
    let ended = installation.run(&["run", "--until-caught-up"]);
    assert!(!ended.stderr.contains("projection.later"), "{ended:?}");
}
