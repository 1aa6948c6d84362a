//! The page of commands is what the commands are.
//!
//! Its list of commands is made from their definitions. To write it anew:
//! `GNOMON_WRITE_REFERENCE=1 cargo test --workspace --lib command_line::reference`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Arg, CommandFactory as _};

use super::CommandLine;

const BEGIN: &str = "<!-- Made from the program; see host/src/command_line/reference.rs. -->\n";
const END: &str = "<!-- The end of what is made from the program. -->\n";

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/commands.md")
}

/// The commands that can be run, with their names from `gnomon` on.
fn commands() -> Vec<(String, clap::Command)> {
    fn collect(name: &str, command: &clap::Command, found: &mut Vec<(String, clap::Command)>) {
        let mut has_commands = false;
        for command in command.get_subcommands() {
            if command.get_name() != "help" {
                has_commands = true;
                collect(&format!("{name} {}", command.get_name()), command, found);
            }
        }
        if !has_commands {
            found.push((name.to_owned(), command.clone()));
        }
    }
    let mut found = Vec::new();
    collect("gnomon", &CommandLine::command(), &mut found);
    found
}

/// A text as Markdown, on one line of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
        .replace('*', "\\*")
        .replace('\n', " ")
}

fn row(arg: &Arg) -> String {
    let mut names = Vec::new();
    if let Some(short) = arg.get_short() {
        names.push(format!("-{short}"));
    }
    if let Some(long) = arg.get_long() {
        names.push(format!("--{long}"));
    }
    let mut name = names.join(", ");
    if arg.is_positional() || arg.get_action().takes_values() {
        let values = arg.get_value_names().unwrap_or_default();
        let value = values.first().map_or("", |value| value.as_str());
        name.push_str(if name.is_empty() { "" } else { " " });
        name.push_str(value);
    }
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !values.is_empty() && arg.get_action().takes_values() {
        write!(help, ": {}", values.join(", ")).unwrap();
    }
    if let Some(default) = arg.get_default_values().first()
        && arg.get_action().takes_values()
    {
        write!(help, " [default: {}]", default.to_string_lossy()).unwrap();
    }
    if arg.is_required_set() {
        help.push_str(" (required)");
    }
    format!("| `{}` | {} |\n", cell(&name), cell(&help))
}

fn is_own(arg: &Arg) -> bool {
    !arg.is_global_set() && !["help", "version"].contains(&arg.get_id().as_str())
}

/// The list of commands as Markdown.
fn list() -> String {
    let mut list = String::new();
    list.push_str("### Options of every command\n\n| option | meaning |\n| --- | --- |\n");
    for arg in CommandLine::command()
        .get_arguments()
        .filter(|arg| arg.is_global_set())
    {
        list.push_str(&row(arg));
    }
    list.push_str("| `-h`, `--help` | Shows the command with its options and examples |\n");
    list.push_str("| `-V`, `--version` | Shows the version |\n");
    for (name, command) in commands() {
        let about = command
            .get_long_about()
            .or_else(|| command.get_about())
            .map(ToString::to_string)
            .unwrap_or_default();
        write!(list, "\n### `{name}`\n\n").unwrap();
        for paragraph in about.split("\n\n") {
            let text = paragraph.replace('\n', " ").replace('*', "\\*");
            let end = if text.ends_with(['.', '!']) { "" } else { "." };
            write!(list, "{text}{end}\n\n").unwrap();
        }
        let arguments: Vec<&Arg> = command.get_arguments().filter(|arg| is_own(arg)).collect();
        if arguments.is_empty() {
            list.push_str("No arguments of its own.\n");
        } else {
            list.push_str("| argument | meaning |\n| --- | --- |\n");
        }
        for arg in arguments {
            list.push_str(&row(arg));
        }
    }
    list
}

#[test]
fn the_page_has_every_command_with_its_arguments() {
    let text = fs::read_to_string(page()).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (written, behind) = rest.split_once(END).unwrap();
    let made = format!("\n{}\n", list());
    if std::env::var_os("GNOMON_WRITE_REFERENCE").is_some() {
        fs::write(page(), format!("{before}{BEGIN}{made}{END}{behind}")).unwrap();
    } else {
        assert!(
            written == made,
            "docs/reference/commands.md is not what the commands are; write it anew with \
             `GNOMON_WRITE_REFERENCE=1 cargo test --workspace --lib command_line::reference`"
        );
    }
}

#[test]
fn the_page_says_of_every_command_when_it_exits_with_0() {
    let text = fs::read_to_string(page()).unwrap();
    let table = text
        .split_once("| command | exits with 0 when |")
        .unwrap()
        .1
        .split_once("\n\n")
        .unwrap()
        .0;
    // A form of a command, as `run --until-caught-up`, stands beside it.
    let listed: BTreeSet<String> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(" | ").next())
        .flat_map(|cell| cell.split(", "))
        .map(|name| name.trim_matches('`'))
        .map(|name| name.split(" --").next().unwrap().to_owned())
        .collect();
    let known: BTreeSet<String> = commands()
        .into_iter()
        .map(|(name, _)| name.trim_start_matches("gnomon ").to_owned())
        .collect();
    assert_eq!(listed, known);
}

#[test]
fn every_command_says_what_its_arguments_are() {
    for (name, command) in commands() {
        assert!(command.get_about().is_some(), "{name}");
        for arg in command.get_arguments().filter(|arg| is_own(arg)) {
            assert!(arg.get_help().is_some(), "{name} {}", arg.get_id());
        }
    }
}
