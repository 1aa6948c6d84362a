//! What one way took in each round.

use gnomon_tests::harness::System;

use super::Rebuild;
use crate::arena::Cost;
use crate::contenders::Models;
use crate::statistics::{median, rate};

pub(super) struct Way {
    name: &'static str,
    events: i64,
    costs: Vec<Cost>,
}

impl Way {
    pub(super) const fn new(name: &'static str, events: i64) -> Self {
        Self {
            name,
            events,
            costs: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, cost: Cost) {
        self.costs.push(cost);
    }

    fn rates(&self) -> impl Iterator<Item = f64> {
        let costs = self.costs.iter();
        costs.map(|cost| rate(self.events, cost.client.time))
    }

    /// Events of the log per second.
    pub(super) fn rate(&self) -> f64 {
        median(self.rates().collect())
    }

    fn median_of(&self, figure: impl Fn(&Cost) -> Option<f64>) -> Option<f64> {
        let figures: Option<Vec<f64>> = self.costs.iter().map(figure).collect();
        figures.map(median)
    }

    pub(super) fn figures(&self, system: System, read_models: Models, expert: f64) -> Rebuild {
        let client_cpu = self.median_of(|cost| Some(cost.client.cpu.as_secs_f64()));
        let server = |cost: &Cost| cost.server.as_ref().map(|server| server.cpu.as_secs_f64());
        let mut wal: Option<Vec<u64>> = self
            .costs
            .iter()
            .map(|cost| cost.server.as_ref().map(|server| server.wal_bytes))
            .collect();
        if let Some(wal) = &mut wal {
            wal.sort_unstable();
        }
        let peaks = self.costs.iter().map(|cost| cost.client.peak_memory);
        Rebuild {
            system,
            read_models,
            way: self.name,
            events: self.events,
            median: self.rate(),
            min: self.rates().fold(f64::INFINITY, f64::min),
            max: self.rates().fold(0.0, f64::max),
            ratio_to_expert: self.rate() / expert,
            client_cpu_seconds: client_cpu.unwrap_or_default(),
            server_cpu_seconds: self.median_of(server),
            peak_memory_bytes: peaks.max().unwrap_or_default(),
            wal_bytes: wal.and_then(|wal| wal.get(wal.len() / 2).copied()),
        }
    }
}
