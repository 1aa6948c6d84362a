//! The contract between the host Gnomon and a projection: its text, and how a
//! core module becomes a component that implements it.
//!
//! ```text
//! core module ── embed ──> core module that names the contract
//!                              └── from_core_module ──> component
//! ```
//!
//! Compilers that know nothing of components make a core module with the
//! contract's exports; [`embed`] says in it which contract they are of. SDKs with
//! `wit-bindgen` have done so already.

use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

mod component;

pub use component::{ComponentError, from_core_module};

/// The contract as WIT: package `gnomon:projection`, world `projection`.
pub const TEXT: &str = include_str!("../wit/projection.wit");

/// Writes into a core module that it implements the contract.
///
/// # Errors
/// [`ComponentError::Encoding`] for what is no module.
pub fn embed(module: &mut Vec<u8>) -> Result<(), ComponentError> {
    let (resolve, world) = world("", "projection")?;
    embed_component_metadata(module, &resolve, world, StringEncoding::UTF8).map_err(encoding)
}

/// A world of the contract's package, or of what stands behind it.
///
/// # Errors
/// [`ComponentError::Encoding`] where `behind` is no WIT, or has no such world.
pub fn world(behind: &str, name: &str) -> Result<(Resolve, WorldId), ComponentError> {
    let mut resolve = Resolve::default();
    let package = resolve
        .push_str("projection.wit", &format!("{TEXT}{behind}"))
        .map_err(encoding)?;
    let world = resolve
        .select_world(&[package], Some(name))
        .map_err(encoding)?;
    Ok((resolve, world))
}

fn encoding(error: impl std::fmt::Display) -> ComponentError {
    ComponentError::Encoding(format!("{error:#}"))
}
