//! What a guest costs: the same projection in the sandbox and native.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use gnomon_guest::{Guest, GuestEngine};
use gnomon_model::Event;
use gnomon_tests::harness::example;
use serde::Serialize;

use crate::contenders::Models;
use crate::log;
use crate::report::{Measured, grouped};
use crate::statistics::median;

mod native;
mod sandbox;

use native::Native;

#[derive(clap::Args, Serialize)]
pub(crate) struct Arguments {
    /// Events of the log
    #[arg(long, default_value_t = 200_000)]
    events: usize,
    /// Events in a batch
    #[arg(long, default_value_t = 1_000)]
    batch: usize,
    /// How often each way is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The directory of the modules
    #[arg(
        long,
        env = "GNOMON_TEST_PROJECTIONS",
        default_value = "target/projections"
    )]
    modules: PathBuf,
}

/// One way to apply a projection.
#[derive(Serialize)]
pub(crate) struct Applied {
    projection: String,
    way: String,
    /// Of the log that the projection asks for.
    events: usize,
    /// The median of the rounds.
    microseconds_per_event: f64,
    events_per_second: f64,
    /// Of the time per event, to native code on the same write buffer, where
    /// there is such code.
    ratio_to_native: Option<f64>,
    #[serde(flatten)]
    module: Option<ModuleCost>,
}

/// What only a module costs.
#[derive(Serialize)]
struct ModuleCost {
    bytes: usize,
    /// Compiling it, on all processors, and asking it twice what it is.
    compile_ms: f64,
    /// A fresh instance and a call without events: what each batch costs.
    instance_microseconds: f64,
}

impl Measured for Applied {
    const HEADINGS: &'static [&'static str] = &[
        "projection",
        "way",
        "per event",
        "events/s",
        "to native",
        "size",
        "compile",
        "instance",
    ];

    fn title(&self) -> String {
        "Applying events, rows in memory, one thread".to_owned()
    }

    fn cells(&self) -> Vec<String> {
        let mut cells = vec![
            self.projection.clone(),
            self.way.clone(),
            format!("{:.2} µs", self.microseconds_per_event),
            grouped(self.events_per_second),
            self.ratio_to_native
                .map(|ratio| format!("{ratio:.1}"))
                .unwrap_or_default(),
        ];
        match &self.module {
            Some(module) => cells.extend([
                format!("{} KiB", module.bytes >> 10),
                format!("{:.0} ms", module.compile_ms),
                format!("{:.0} µs", module.instance_microseconds),
            ]),
            None => cells.resize(Self::HEADINGS.len(), String::new()),
        }
        cells
    }
}

pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Applied>> {
    let engine = GuestEngine::new(None)?;
    let log = log::events(arguments.events)?;
    let mut natives = Vec::new();
    for models in Models::EACH {
        for folder in models.folders() {
            let (guest, _) = sandbox::load(&engine, folder, &example(folder))?;
            natives.push(Native::new(models, Arc::clone(guest.description())));
        }
    }
    let mut measured = Vec::new();
    for file in modules(&arguments.modules)? {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let (guest, cost) = sandbox::load(&engine, &name, &std::fs::read(&file)?)?;
        let native = natives
            .iter_mut()
            .find(|native| native.writes_the_tables_of(guest.description()));
        measured.extend(compare(&name, &guest, cost, native, &log, arguments)?);
    }
    Ok(measured)
}

/// The modules of a directory, by name.
fn modules(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory)
        .with_context(|| format!("cannot read {}", directory.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension() == Some("wasm".as_ref()) {
            files.push(path);
        }
    }
    ensure!(!files.is_empty(), "no module in {}", directory.display());
    files.sort();
    Ok(files)
}

/// Measures a module, and native code that must give the same rows.
fn compare(
    name: &str,
    guest: &Guest,
    cost: ModuleCost,
    mut native: Option<&mut Native>,
    log: &[Event],
    arguments: &Arguments,
) -> Result<Vec<Applied>> {
    let description = guest.description();
    let wanted = log
        .iter()
        .filter(|event| description.subscription.wants(*event));
    let events: Vec<Event> = wanted.cloned().collect();
    ensure!(
        !events.is_empty(),
        "{name} asks for no event of the order log"
    );
    let batches = sandbox::batches(&events, arguments.batch);
    let (mut times, mut rows) = (Vec::new(), None);
    for _ in 0..arguments.rounds {
        let (time, found) = sandbox::apply(guest, &batches).with_context(|| name.to_owned())?;
        times.push(time);
        let expected = match native.as_deref_mut() {
            Some(native) => native.apply(&events, arguments.batch)?,
            None => rows.take().unwrap_or_else(|| found.clone()),
        };
        ensure!(found == expected, "the rows of {name} are wrong");
        rows = Some(expected);
    }
    let projection = &description.name;
    let line = |way: String, times: &[Duration]| Applied::new(projection, way, events.len(), times);
    let mut measured = vec![line(name.to_owned(), &times)];
    if let Some(native) = native {
        let (buffered, folded) = native.take_times();
        let buffered = line("native, on the host's write buffer".to_owned(), &buffered);
        for module in &mut measured {
            module.ratio_to_native =
                Some(module.microseconds_per_event / buffered.microseconds_per_event);
        }
        measured.push(buffered);
        measured.push(line("native, into hash maps".to_owned(), &folded));
    }
    if let Some(module) = measured.first_mut() {
        module.module = Some(cost);
    }
    Ok(measured)
}

impl Applied {
    fn new(projection: &str, way: String, events: usize, times: &[Duration]) -> Self {
        let seconds = median(times.iter().map(Duration::as_secs_f64).collect());
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no 16 digits")]
        let count = events as f64;
        Self {
            projection: projection.to_owned(),
            way,
            events,
            microseconds_per_event: seconds * 1e6 / count,
            events_per_second: count / seconds,
            ratio_to_native: None,
            module: None,
        }
    }
}
