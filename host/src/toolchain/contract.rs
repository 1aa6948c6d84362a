//! What a core module says of the contract, for compilers that know nothing of
//! components.

use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

use super::ComponentError;

const CONTRACT: &str = include_str!("../../../wit/projection.wit");

/// Writes into a core module that it implements the contract.
pub(crate) fn embed(module: &mut Vec<u8>) -> Result<(), ComponentError> {
    let (resolve, world) = world("", "projection")?;
    embed_component_metadata(module, &resolve, world, StringEncoding::UTF8).map_err(encoding)
}

/// A world of the contract's package, or of what stands behind it.
pub(super) fn world(behind: &str, name: &str) -> Result<(Resolve, WorldId), ComponentError> {
    let mut resolve = Resolve::default();
    let package = resolve
        .push_str("projection.wit", &format!("{CONTRACT}{behind}"))
        .map_err(encoding)?;
    let world = resolve
        .select_world(&[package], Some(name))
        .map_err(encoding)?;
    Ok((resolve, world))
}

fn encoding(error: impl std::fmt::Display) -> ComponentError {
    ComponentError::Encoding(format!("{error:#}"))
}
