//! Runs the real binary on real, throwaway databases.
//!
//! `GNOMON_TEST_BINARY` and `GNOMON_TEST_PROJECTIONS` name the binary and the
//! directory of the example projections; without them, those below `target/`
//! are taken; `GNOMON_TEST_GUESTS` is the directory of the modules of
//! `tests/guests`. `GNOMON_TEST_POSTGRES_URL` names the server, and
//! `GNOMON_TEST_POSTGRES_BINARIES` the directory of its programs.

mod chance;
mod commits;
mod database;
mod deployment;
mod disk;
mod feed;
mod generations;
mod hang_up;
mod host;
mod installation;
mod log;
mod module;
mod pooler;
mod proxy;
mod read_model;
mod readers;
mod server;
mod spending;
mod story;

pub use chance::{Chance, is_soak, rounds};
pub use commits::Commits;
pub use database::{Database, Rows, System};
pub use deployment::PATIENCE;
pub use disk::Disk;
pub use feed::{Fed, Feed};
pub use generations::Stored;
pub use hang_up::HangUp;
pub use host::{Host, signal};
pub use installation::{Finished, Installation, example, guest, has_guest};
pub use log::shared_log;
pub use module::{
    Declaration, DeclaredTable, another_build, component, component_of_world, copy_of_projection,
    core_module, not_only_core,
};
pub use pooler::Pooler;
pub use proxy::{Point, Proxy};
pub use read_model::{CUSTOMER_VALUE, DAILY_REVENUE, ORDER_SUMMARY, READ_MODELS, ReadModel};
pub use readers::Readers;
pub use server::{Server, Stop};
pub use spending::Spending;
pub use story::Story;
