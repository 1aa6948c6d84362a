//! Stories: what a page shows at a prompt, run as it stands.
//!
//! The ```` ```console ```` blocks of a page are one session of a shell in an
//! empty directory. A line after `$ ` is a command, `> ` continues it, and the
//! lines behind it are what it prints, on both streams. Without such lines the
//! command must succeed, and what it prints is left out. `…` stands for
//! whatever is there, alone on its line for any number of lines. What is
//! another each time (times, ids, hashes, rates) is compared by its form.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::installation::binary;

/// No story takes longer, unless a command of it hangs. The first build of a
/// projection takes minutes on a busy machine.
const STORY_TIME_LIMIT: Duration = Duration::from_secs(900);

/// What stands before the number of a command in the output of all.
const MARK: &str = "=== command";

/// The commands of a page.
pub struct Story {
    page: String,
    steps: Vec<Step>,
}

#[derive(Debug, PartialEq)]
struct Step {
    line: usize,
    command: String,
    shown: Vec<String>,
}

/// What a command did.
struct Done {
    code: i32,
    printed: String,
}

impl Story {
    /// The story of a page, named from the root of the repository.
    ///
    /// # Panics
    /// When the page has none.
    #[must_use]
    pub fn of(page: &str) -> Self {
        let text = fs::read_to_string(Self::checkout().join(page)).unwrap();
        let steps = steps(&text);
        assert!(!steps.is_empty(), "{page} shows no command");
        Self {
            page: page.to_owned(),
            steps,
        }
    }

    /// How many commands the page shows.
    #[must_use]
    pub const fn commands(&self) -> usize {
        self.steps.len()
    }

    /// Runs it; programs besides `gnomon` are given with their names.
    ///
    /// # Panics
    /// When something is not as the page shows it.
    pub fn run(&self, programs: &[(&str, &Path)]) {
        let place = tempfile::tempdir().unwrap();
        let (start, programs_of_it) = (place.path().join("start"), place.path().join("bin"));
        fs::create_dir(&start).unwrap();
        fs::create_dir(&programs_of_it).unwrap();
        symlink(binary(), programs_of_it.join("gnomon")).unwrap();
        for (name, program) in programs {
            symlink(program, programs_of_it.join(name)).unwrap();
        }
        let output = self.session(place.path(), &start, &programs_of_it);
        let done = self.parts(&output);
        let mut wrong = String::new();
        for (step, done) in self.steps.iter().zip(&done) {
            if let Some(difference) = step.difference(done) {
                writeln!(wrong, "{}:{}: {difference}", self.page, step.line).unwrap();
            }
        }
        assert!(wrong.is_empty(), "the story is another:\n{wrong}\n{output}");
    }

    fn checkout() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    /// All output of all commands, with marks between them.
    fn session(&self, place: &Path, start: &Path, programs: &Path) -> String {
        let mut script = "exec 2>&1\ntrap 'kill $(jobs -p) 2>/dev/null' EXIT\ncode=0\n".to_owned();
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(
                script,
                "printf '\\n{MARK} %d %d\\n' {number} $code\n(exit $code)\n{}\ncode=$?",
                step.command
            )
            .unwrap();
        }
        writeln!(
            script,
            "printf '\\n{MARK} %d %d\\n' {} $code",
            self.steps.len()
        )
        .unwrap();
        fs::write(place.join("script"), script).unwrap();

        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("bash");
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("GNOMON_") && name != "GNOMON_TOOLCHAINS" {
                shell.env_remove(&*name);
            }
        }
        let output = place.join("output");
        let mut shell = shell
            .arg(place.join("script"))
            .current_dir(start)
            .env("PATH", format!("{}:{path}", programs.display()))
            .env("checkout", Self::checkout())
            .env("XDG_CACHE_HOME", binary().with_file_name("test-cache"))
            .stdin(Stdio::null())
            .stdout(File::create(&output).unwrap())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let started = Instant::now();
        let hangs = loop {
            if shell.try_wait().unwrap().is_some() {
                break false;
            }
            if started.elapsed() > STORY_TIME_LIMIT {
                break true;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        // What it left behind ends with it.
        let group = format!("-{}", shell.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).output();
        let _ = shell.wait();
        let output = String::from_utf8_lossy(&fs::read(output).unwrap()).into_owned();
        assert!(!hangs, "{} hangs after:\n{output}", self.page);
        output
    }

    /// What each command did.
    fn parts(&self, output: &str) -> Vec<Done> {
        let mut done = Vec::new();
        let mut rest = output.split_once(MARK).map_or("", |(_, behind)| behind);
        for (number, step) in self.steps.iter().enumerate() {
            let mark = format!("\n{MARK} {} ", number + 1);
            let Some((part, behind)) = rest.split_once(&mark) else {
                panic!("{}:{}: ends the shell:\n{output}", self.page, step.line);
            };
            let printed = part.split_once('\n').map_or("", |(_, printed)| printed);
            let code = behind.lines().next().unwrap().parse().unwrap();
            done.push(Done {
                code,
                printed: printed.to_owned(),
            });
            rest = behind;
        }
        done
    }
}

/// The commands of a page, in their order.
fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_console = false;
    let mut is_open = false;
    for (number, line) in page.lines().enumerate() {
        if line.starts_with("```") {
            is_console = line == "```console";
            is_open = false;
        } else if !is_console {
        } else if let Some(command) = line.strip_prefix("$ ") {
            is_open = true;
            steps.push(Step {
                line: number + 1,
                command: command.to_owned(),
                shown: Vec::new(),
            });
        } else if let Some(step) = steps.last_mut() {
            match line.strip_prefix("> ") {
                Some(more) if is_open => {
                    step.command.push('\n');
                    step.command.push_str(more);
                }
                _ => {
                    is_open = false;
                    step.shown.push(line.to_owned());
                }
            }
        }
    }
    steps
}

impl Step {
    /// What is not as the page shows it.
    fn difference(&self, done: &Done) -> Option<String> {
        if self.shown.is_empty() {
            return (done.code != 0).then(|| {
                format!(
                    "`{}` exits with {}:\n{}",
                    self.command, done.code, done.printed
                )
            });
        }
        let shown: Vec<String> = self.shown.iter().map(|line| form(line)).collect();
        let printed: Vec<String> = done.printed.lines().map(form).collect();
        (!lines_match(&shown, &printed)).then(|| {
            format!(
                "`{}` prints:\n{}\nwhere the page has:\n{}\n",
                self.command,
                done.printed,
                self.shown.join("\n")
            )
        })
    }
}

/// Whether lines are as shown, where `…` stands for any.
fn lines_match(shown: &[String], printed: &[String]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first == "…" => {
            (0..=printed.len()).any(|left_out| lines_match(rest, &printed[left_out..]))
        }
        Some((first, rest)) => printed
            .split_first()
            .is_some_and(|(line, others)| line_matches(first, line) && lines_match(rest, others)),
    }
}

/// Whether a line is as shown, where `…` stands for anything.
fn line_matches(shown: &str, printed: &str) -> bool {
    let mut parts = shown.split('…');
    let first = parts.next().unwrap();
    let Some(mut rest) = printed.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.split_once(part) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// A line with everything that is another each time in one form: times, ids,
/// hashes, what takes how long, and the widths of tables.
fn form(line: &str) -> String {
    let is_border = |character: char| "┌┬┐╞╪═╡└┴┘─├┼┤".contains(character);
    let mut form = String::new();
    let mut words = line.split(' ').filter(|word| !word.is_empty()).peekable();
    while let Some(word) = words.next() {
        let next = words.peek().copied().unwrap_or_default();
        if !form.is_empty() {
            form.push(' ');
        }
        let bare = word.trim_matches(|character: char| "(),.:;|\"".contains(character));
        let is_rate = ["events/s", "positions/s"]
            .iter()
            .any(|unit| next.starts_with(unit));
        let is_time = next.trim_end_matches([',', '.', ')', ';']) == "s" && bare.contains('.');
        if word.chars().all(is_border) {
            let mut last = ' ';
            for character in word.chars().filter(|character| {
                let is_new = *character != last;
                last = *character;
                is_new
            }) {
                form.push(character);
            }
        } else if (is_rate || is_time) && !bare.is_empty() {
            form.push_str(&word.replace(bare, "N"));
        } else {
            form.push_str(&without_chance(word));
        }
    }
    form
}

/// A word whose parts that are another each time have their form only.
fn without_chance(word: &str) -> String {
    let mut form = String::new();
    let mut rest = word;
    while !rest.is_empty() {
        let is_part =
            |character: char| character.is_ascii_alphanumeric() || "-:.+".contains(character);
        let end = rest
            .find(|character| !is_part(character))
            .unwrap_or(rest.len());
        let (part, behind) = rest.split_at(end);
        let bare = part.trim_end_matches(['.', ':']);
        let tail = &part[bare.len()..];
        let is_hash = [12, 64].contains(&bare.len())
            && bare.chars().all(|character| character.is_ascii_hexdigit())
            && bare.chars().any(|character| character.is_ascii_digit());
        if bare.parse::<jiff::Timestamp>().is_ok() {
            form.push_str("<time>");
            form.push_str(tail);
        } else if bare.len() == 36 && uuid::Uuid::try_parse(bare).is_ok() {
            form.push_str("<id>");
            form.push_str(tail);
        } else if is_hash {
            form.push_str("<hash>");
            form.push_str(tail);
        } else {
            form.push_str(part);
        }
        let mut characters = behind.chars();
        form.extend(characters.next());
        rest = characters.as_str();
    }
    form
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_a_session() {
        let page = "Text.\n\n```console\n$ cd shop\n$ seq 2 |\n> cat\n1\n2\n```\n\n```sh\nmake\n```\n\n\
                    ```console\n$ true\n```\n";
        let step = |line, command: &str, shown: &[&str]| Step {
            line,
            command: command.to_owned(),
            shown: shown.iter().map(ToString::to_string).collect(),
        };
        let expected = [
            step(4, "cd shop", &[]),
            step(5, "seq 2 |\ncat", &["1", "2"]),
            step(16, "true", &[]),
        ];
        assert_eq!(steps(page), expected);
    }

    #[test]
    fn what_is_another_each_time_is_compared_by_its_form() {
        for (shown, printed) in [
            (
                "2025-01-15T10:30:00Z  INFO caught up generation=1",
                "2026-11-30T14:14:41.273067Z  INFO caught up generation=1",
            ),
            (
                "event 01a22cce-d08e-74fa-9b96-10d8eec6f90e is version 1, at position 1",
                "event 01a22cce-d1a4-7609-a62f-0ce805796168 is version 1, at position 1",
            ),
            (
                "2 events in 0.24 s (8 events/s)",
                "2 events in 1.5 s (1,300 events/s)",
            ),
            (
                "imported 2 events in 0.9 s; the last",
                "imported 2 events in 1.0 s; the last",
            ),
            (
                "│ spending ┆ 30e7c10c61cd │",
                "│ spending   ┆ 40e7c10c61cd │",
            ),
            ("╞════╪═══╡", "╞══╪══╡"),
            ("halted on … it", "halted on event 2, and it"),
        ] {
            assert!(
                line_matches(&form(shown), &form(printed)),
                "{shown}\n{printed}"
            );
        }
        for (shown, printed) in [
            ("at position 1", "at position 2"),
            ("spent_cents=1", "spent_cents=10"),
            ("2 events in 0.24 s", "3 events in 0.24 s"),
            ("╞════╪═══╡", "╞══╡"),
            ("halted on … it", "halted on event 2"),
        ] {
            assert!(
                !line_matches(&form(shown), &form(printed)),
                "{shown}\n{printed}"
            );
        }
    }

    #[test]
    fn lines_may_be_left_out_where_the_page_says_so() {
        let lines = |text: &str| text.lines().map(ToOwned::to_owned).collect::<Vec<_>>();
        let printed = lines("a\nb\nc");
        for shown in ["a\nb\nc", "…\nc", "a\n…", "…", "a\nb\n…\nc"] {
            assert!(lines_match(&lines(shown), &printed), "{shown}");
        }
        for shown in ["a\nb", "…\nb", "a\n…\nd", ""] {
            assert!(!lines_match(&lines(shown), &printed), "{shown}");
        }
    }
}
