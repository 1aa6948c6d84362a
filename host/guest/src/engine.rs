//! The engine: how guests are compiled, linked and bounded.

use std::sync::Arc;

use bytesize::ByteSize;
use gnomon_model::ModuleHash;
use rustix::process::{Resource, getrlimit};
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, Module, PoolingAllocationConfig,
};

use super::bindings::{Projection, ProjectionPre};
use super::call::Call;
use super::core_module::{self, CorePre};
use super::instance::Linked;
use super::native_code::{Code, NativeCodeCache};
use super::ticker::Ticker;
use super::{Guest, GuestLimits, LoadError, REASON_CHARACTERS_MAX, convert};

/// Stack of a guest. Rust's own threads have four times as much.
const GUEST_STACK_BYTES: usize = 512 * 1024;
/// Instances at a time; each generation has at most one.
const INSTANCES_MAX: u32 = 256;
/// Core modules in a component: Python has 38, Rust 3.
const CORE_INSTANCES_PER_COMPONENT: u32 = 64;
/// JavaScript has 3, Rust 1.
const MEMORIES_PER_COMPONENT: u32 = 4;
const TABLES_PER_COMPONENT: u32 = 8;
/// Python has 5,674 elements, StarlingMonkey 7,692.
const TABLE_ELEMENTS_MAX: usize = 60_000;
const INSTANCE_BYTES_MAX: usize = 4 << 20;
/// What a memory that is made on demand has beside it: room to grow without
/// moving, and pages that nobody may touch.
const GROWTH_BYTES: u64 = 1 << 20;
const GUARD_BYTES: u64 = 64 << 10;
/// What a 32-bit memory can grow to; `limits.memory` is checked on the way.
const MEMORY_BYTES_MAX: usize = 4 << 30;
/// Memory that stays mapped between two instances where the kernel tells which
/// pages were written (Linux 6.7), and only those are cleared.
const WRITTEN_RESIDENT_BYTES: usize = 512 * 1024;
/// The same elsewhere. All of it is cleared, so more makes the drop dearer than
/// the page faults that it saves.
const RESIDENT_BYTES: usize = 64 * 1024;

/// Compiles and links guests.
pub struct GuestEngine {
    engine: Engine,
    linker: Linker<Call>,
    core_linker: wasmtime::Linker<Call>,
    ticker: Arc<Ticker>,
    cache: Option<NativeCodeCache>,
}

impl GuestEngine {
    /// An engine that keeps compiled code in `cache`, if there is one.
    ///
    /// # Errors
    /// When wasmtime does not start even with little address space.
    pub fn new(cache: Option<NativeCodeCache>) -> Result<Self, wasmtime::Error> {
        let engine = Engine::new(&pooling_config()).or_else(|error| {
            tracing::warn!(
                "{}, so memory is made for each instance when it starts, which takes longer \
                 ({error:#})",
                match getrlimit(Resource::As).current {
                    Some(bytes) => format!(
                        "guests cannot be given their address space beforehand: `ulimit -v` of this \
                         process is {}",
                        ByteSize::b(bytes)
                    ),
                    None => "guests cannot be given their address space beforehand".to_owned(),
                }
            );
            Engine::new(&on_demand_config())
        })?;
        let mut linker = Linker::new(&engine);
        Projection::add_to_linker::<_, HasSelf<Call>>(&mut linker, |call| call)?;
        let mut core_linker = wasmtime::Linker::new(&engine);
        core_module::add_to_linker(&mut core_linker)?;
        Ok(Self {
            ticker: Arc::new(Ticker::start(&engine)?),
            engine,
            linker,
            core_linker,
            cache,
        })
    }

    /// Validates, compiles, links and describes a module. It takes from 0.1 s
    /// (Rust) to 14 s (Python) unless the compiled code is in the cache.
    ///
    /// # Errors
    /// [`LoadError`] with what is wrong with the file.
    pub fn load(&self, bytes: &[u8], limits: GuestLimits) -> Result<Guest, LoadError> {
        check_header(bytes)?;
        let hash = ModuleHash::of(bytes);
        let linked = match self.compile(bytes, &hash)? {
            Code::Core(module) => CorePre::new(&self.core_linker, &module).map(Linked::Core),
            Code::Component(component) => {
                self.check_imports(&component)?;
                self.linker
                    .instantiate_pre(&component)
                    .and_then(ProjectionPre::new)
                    .map(Linked::Component)
            }
        };
        let linked = linked.map_err(|error| LoadError::WrongWorld(of_module(&error)))?;
        Guest::describe(linked, Arc::clone(&self.ticker), hash, limits)
    }

    fn compile(&self, bytes: &[u8], hash: &ModuleHash) -> Result<Code, LoadError> {
        let compile = || {
            // What wasmtime refuses as a module it refuses as a component, and
            // says so better.
            let core = core_module::core_of(bytes)
                .and_then(|module| Module::from_binary(&self.engine, module).ok());
            match core {
                Some(module) => Ok(Code::Core(module)),
                None => Component::from_binary(&self.engine, bytes)
                    .map(Code::Component)
                    .map_err(|error| LoadError::Malformed(of_module(&error))),
            }
        };
        let Some(cache) = &self.cache else {
            return compile();
        };
        if let Some(code) = cache.load(&self.engine, hash) {
            return Ok(code);
        }
        let code = compile()?;
        cache.store(&self.engine, hash, &code);
        Ok(code)
    }

    /// Whatever goes beyond the contract is refused, before anything runs.
    fn check_imports(&self, component: &Component) -> Result<(), LoadError> {
        let ty = component.component_type();
        for (import, _) in ty.imports(&self.engine) {
            if !is_of_contract(import) {
                return Err(LoadError::ForeignImport {
                    advice: advice(import),
                    import: convert::one_line(import, REASON_CHARACTERS_MAX),
                });
            }
        }
        Ok(())
    }

    /// Names of everything that a component imports, for `inspect`.
    ///
    /// # Errors
    /// [`LoadError`] if the bytes are not a component.
    pub fn imports(bytes: &[u8]) -> Result<Vec<String>, LoadError> {
        check_header(bytes)?;
        core_module::component_imports(bytes)
    }
}

/// Address space for as many guests as there may ever be: an instance is ready
/// in microseconds.
fn pooling_config() -> Config {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(INSTANCES_MAX)
        // Whatever one component takes, there is room for all others.
        .total_core_instances(INSTANCES_MAX * CORE_INSTANCES_PER_COMPONENT)
        .total_memories(INSTANCES_MAX * MEMORIES_PER_COMPONENT)
        .total_tables(INSTANCES_MAX * TABLES_PER_COMPONENT)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_tables_per_module(4)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .max_component_instance_size(INSTANCE_BYTES_MAX)
        .max_memory_size(MEMORY_BYTES_MAX)
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(if PoolingAllocationConfig::is_pagemap_scan_available() {
            WRITTEN_RESIDENT_BYTES
        } else {
            RESIDENT_BYTES
        })
        .table_keep_resident(RESIDENT_BYTES);
    let mut config = common_config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// Nothing beforehand, where the address space is limited: a memory begins as
/// large as its module says, and moves when it grows.
fn on_demand_config() -> Config {
    let mut config = common_config();
    config
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .memory_reservation(0)
        .memory_reservation_for_growth(GROWTH_BYTES)
        .memory_guard_size(GUARD_BYTES)
        .memory_may_move(true);
    config
}

fn common_config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(GUEST_STACK_BYTES)
        // Same events, same rows: nothing may differ between two runs or two
        // processors.
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false);
    config
}

fn check_header(bytes: &[u8]) -> Result<(), LoadError> {
    match bytes {
        // A component has layer 1 in the upper half of its version.
        [b'\0', b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [b'\0', b'a', b's', b'm', _, _, 0, 0, ..] => Err(LoadError::CoreModule),
        [b'\0', b'a', b's', b'm', ..] => Err(LoadError::Malformed(
            "it ends within its first eight bytes, or its version is unknown".to_owned(),
        )),
        _ => Err(LoadError::NotWasm),
    }
}

/// An error that may quote names of the module, of any length and content.
fn of_module(error: &wasmtime::Error) -> String {
    convert::readable(&format!("{error:#}"), REASON_CHARACTERS_MAX)
}

/// The package that a guest may import from.
const CONTRACT: &str = "gnomon:projection/";

/// Whether an import is an interface of the contract, in a version that this
/// host knows. An interface of types alone is checked only here: there is
/// nothing in it to link.
fn is_of_contract(import: &str) -> bool {
    import
        .strip_prefix(CONTRACT)
        .and_then(|interface| interface.split_once('@'))
        .is_some_and(|(_, version)| version.starts_with("0.1."))
}

fn advice(import: &str) -> &'static str {
    if import.starts_with(CONTRACT) {
        "it was built for another version of the contract; this host knows 0.1"
    } else if import.starts_with("wasi:") {
        "Rust: build for wasm32-unknown-unknown, not wasip2; JavaScript: componentize-qjs \
         --stub-wasi; Python: componentize-py --stub-wasi; Go and C: `gnomon build`, whose adapter \
         grants nothing"
    } else {
        "remove the import: a projection has no clock, no randomness, no files and no network"
    }
}
