//! What processes cost: time of the processors and memory, from `/proc`.

use std::fs;
use std::io::{Read as _, Seek as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

/// How often a process that runs is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(4);

/// A process of this machine.
#[derive(Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

/// The fields of `/proc/PID/stat` that are of use here.
struct Stat {
    state: char,
    parent: u32,
    cpu: Duration,
    cpu_of_ended_children: Duration,
}

impl Process {
    /// The time that all its threads have had a processor for.
    pub(crate) fn cpu(self) -> Result<Duration> {
        Ok(self.stat()?.cpu)
    }

    /// The process that started it.
    pub(crate) fn parent(self) -> Result<Self> {
        Ok(Self(self.stat()?.parent))
    }

    /// Its memory now, in bytes.
    pub(crate) fn memory(self) -> Result<u64> {
        self.status("VmRSS:").context("the process has ended")
    }

    /// The most memory that it had so far, in bytes.
    pub(crate) fn peak_memory(self) -> Result<u64> {
        self.status("VmHWM:").context("the process has ended")
    }

    fn status(self, key: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let line = status.lines().find(|line| line.starts_with(key))?;
        let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kilobytes * 1024)
    }

    fn stat(self) -> Result<Stat> {
        let path = format!("/proc/{}/stat", self.0);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        stat(&text).with_context(|| format!("{path} has another form: {text}"))
    }
}

fn stat(text: &str) -> Option<Stat> {
    // The program's name, in brackets, may hold anything, brackets too.
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |places: [usize; 2]| -> Option<Duration> {
        // A hundred a second, on every architecture.
        const TICK: Duration = Duration::from_millis(10);
        let mut sum = 0;
        for place in places {
            sum += fields.get(place)?.parse::<u32>().ok()?;
        }
        Some(TICK * sum)
    };
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        cpu: ticks([11, 12])?,
        cpu_of_ended_children: ticks([13, 14])?,
    })
}

/// A PostgreSQL server, with all its processes.
pub(crate) struct Server {
    postmaster: Process,
}

impl Server {
    /// The server that one of its sessions belongs to.
    pub(crate) fn of_session(process: u32) -> Result<Self> {
        let postmaster = Process(process).parent();
        let postmaster = postmaster.context("the server is not on this machine")?;
        Ok(Self { postmaster })
    }

    /// The time that its processes have had a processor for, those included
    /// that have ended.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let own = self.postmaster.stat()?;
        let mut sum = own.cpu + own.cpu_of_ended_children;
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(process) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // Others may end while they are looked at.
            if let Ok(stat) = Process(process).stat()
                && stat.parent == self.postmaster.0
            {
                sum += stat.cpu;
            }
        }
        Ok(sum)
    }
}

/// What a command took.
pub(crate) struct Spent {
    pub(crate) time: Duration,
    pub(crate) cpu: Duration,
    pub(crate) peak_memory: u64,
}

/// Runs a command, which must succeed, from its start to its end.
pub(crate) fn run(command: &mut Command) -> Result<Spent> {
    let mut output = tempfile::tempfile()?;
    // What follows may hold a password.
    let what = command.get_args().next().unwrap_or_default().to_owned();
    let what = what.display();
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .spawn()
        .with_context(|| format!("cannot start `{what}`"))?;
    let process = Process(child.id());
    let mut peak_memory = 0;
    // Until it is waited for, what has ended still shows what it took.
    let cpu = loop {
        let stat = process.stat()?;
        if stat.state == 'Z' {
            break stat.cpu;
        }
        peak_memory = process.peak_memory().unwrap_or(peak_memory);
        std::thread::sleep(LOOK_EVERY);
    };
    let time = started.elapsed();
    let status = child.wait()?;
    let mut said = String::new();
    output.rewind()?;
    output.read_to_string(&mut said)?;
    ensure!(status.success(), "`{what}`: {status}\n{said}");
    Ok(Spent {
        time,
        cpu,
        peak_memory,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_have_any_name() {
        let line = "7 (a) b (c) S 3 7 7 0 -1 4194560 1 2 3 4 50 25 6 4 20 0 1 0 9 9 9";
        let times = |stat: Stat| {
            (
                stat.state,
                stat.parent,
                stat.cpu,
                stat.cpu_of_ended_children,
            )
        };
        let (own, of_children) = (Duration::from_millis(750), Duration::from_millis(100));
        assert_eq!(stat(line).map(times), Some(('S', 3, own, of_children)));
    }

    #[test]
    fn a_command_shows_what_it_took_and_why_it_failed() -> Result<()> {
        let spins = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let spent = run(Command::new("sh").args(["-c", spins]))?;
        assert!(spent.cpu > Duration::ZERO && spent.peak_memory > 0);
        let failed = run(Command::new("sh").args(["-c", "echo no disk; exit 3"]));
        let message = failed.err().map(|error| format!("{error:#}"));
        assert!(message.is_some_and(|message| message.contains("no disk")));
        Ok(())
    }
}
