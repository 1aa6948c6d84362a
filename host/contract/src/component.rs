//! From a core module to a component that imports nothing but the contract.

use wit_component::{ComponentEncoder, DecodedWasm};
use wit_parser::WorldItem;

/// What every import and export of a projection's component begins with.
const PACKAGE: &str = "gnomon:projection/";
const EXPORTS: [&str; 2] = ["describe", "apply"];
/// The binary format's version and layer; a core module's is 1, 0.
const COMPONENT_PREAMBLE: &[u8] = b"\0asm\x0d\0\x01\0";

/// A module is no projection.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// It says nothing of the contract.
    #[error(
        "its module implements no contract: does the crate call `gnomon_sdk::export!(…)` with its projection?"
    )]
    NoContract,
    /// It is no module, or asks for more than its contract offers.
    #[error(
        "its module cannot be made a component: {0} (a projection may import nothing but {PACKAGE}*)"
    )]
    Encoding(String),
    /// It imports what the host does not offer.
    #[error(
        "it imports `{0}`, and a projection may import nothing but {PACKAGE}*: \
         a dependency wants a clock, randomness or files; leave it or its feature out"
    )]
    Import(String),
    /// It does not export what the contract asks for.
    #[error("it does not export `{0}`")]
    Export(&'static str),
}

/// Makes a component of a core module that carries the contract; what is a
/// component already is only checked.
///
/// # Errors
/// [`ComponentError`].
pub fn from_core_module(module: &[u8]) -> Result<Vec<u8>, ComponentError> {
    let component = if module.starts_with(COMPONENT_PREAMBLE) {
        module.to_vec()
    } else {
        encode(module)?
    };
    check(&component)?;
    Ok(component)
}

fn encode(module: &[u8]) -> Result<Vec<u8>, ComponentError> {
    let encoding = |error: anyhow::Error| ComponentError::Encoding(format!("{error:#}"));
    let (without_sections, _) = wit_component::metadata::decode(module).map_err(encoding)?;
    if without_sections.is_none() {
        return Err(ComponentError::NoContract);
    }
    ComponentEncoder::default()
        .module(module)
        .and_then(|encoder| encoder.validate(true).encode())
        .map_err(encoding)
}

fn check(component: &[u8]) -> Result<(), ComponentError> {
    let decoded = wit_component::decode(component)
        .map_err(|error| ComponentError::Encoding(format!("{error:#}")))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err(ComponentError::Encoding("it holds only types".to_owned()));
    };
    let Some(world) = resolve.worlds.get(world) else {
        return Err(ComponentError::NoContract);
    };
    let import = world
        .imports
        .iter()
        // Types are only names for what the functions take.
        .filter(|(_, item)| !matches!(item, WorldItem::Type { .. }))
        .map(|(key, _)| resolve.name_world_key(key))
        .find(|name| !name.starts_with(PACKAGE));
    if let Some(name) = import {
        return Err(ComponentError::Import(name));
    }
    let exports: Vec<String> = world
        .exports
        .keys()
        .map(|key| resolve.name_world_key(key))
        .collect();
    match EXPORTS
        .into_iter()
        .find(|export| !exports.iter().any(|name| name == export))
    {
        Some(export) => Err(ComponentError::Export(export)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A core module with nothing in it.
    const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";

    fn refusal(module: &[u8]) -> String {
        from_core_module(module).unwrap_err().to_string()
    }

    fn section(id: u8, body: &[u8]) -> Vec<u8> {
        let mut section = vec![id, u8::try_from(body.len()).unwrap()];
        section.extend_from_slice(body);
        section
    }

    fn name(text: &str) -> Vec<u8> {
        let mut bytes = vec![u8::try_from(text.len()).unwrap()];
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }

    /// A core module of a world of another package: it imports one function
    /// that gives an i64, if any, and exports functions that do nothing.
    fn module_of(wit: &str, import: Option<[&str; 2]>, exports: &[&str]) -> Vec<u8> {
        let mut module = EMPTY_MODULE.to_vec();
        module.extend(section(1, &[2, 0x60, 0, 0, 0x60, 0, 1, 0x7e]));
        if let Some([from, function]) = import {
            let import = [&[1], &*name(from), &*name(function), &[0, 1]].concat();
            module.extend(section(2, &import));
        }
        let count = u8::try_from(exports.len()).unwrap();
        module.extend(section(3, &[&[count], &*vec![0; exports.len()]].concat()));
        let mut exported = vec![count];
        for (number, export) in (u8::from(import.is_some())..).zip(exports) {
            exported.extend([&*name(export), &[0, number]].concat());
        }
        module.extend(section(7, &exported));
        let bodies = [2, 0, 0x0b].repeat(exports.len());
        module.extend(section(10, &[&[count], &*bodies].concat()));
        let mut resolve = wit_parser::Resolve::default();
        let package = resolve.push_str("test.wit", wit).unwrap();
        let world = resolve.select_world(&[package], None).unwrap();
        let encoding = wit_component::StringEncoding::UTF8;
        wit_component::embed_component_metadata(&mut module, &resolve, world, encoding).unwrap();
        module
    }

    #[test]
    fn a_module_without_a_contract_is_told_of_the_macro() {
        assert!(refusal(EMPTY_MODULE).contains("gnomon_sdk::export!"));
    }

    #[test]
    fn what_is_no_module_is_refused() {
        for bytes in [&b""[..], b"\0asm", b"#!/bin/sh", b"\0asm\x0d\0\x01\0"] {
            assert!(from_core_module(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_module_of_another_world_is_refused_by_what_it_lacks() {
        let wit = "package a:b; world w { export describe: func(); }";
        let module = module_of(wit, None, &["describe"]);
        assert_eq!(refusal(&module), "it does not export `apply`");
    }

    #[test]
    fn an_import_beyond_the_contract_is_named() {
        let exports = "export describe: func(); export apply: func();";
        for (wit, import, named) in [
            (
                "interface clock { now: func() -> u64; } world w { import clock;",
                ["a:b/clock", "now"],
                "it imports `a:b/clock`",
            ),
            (
                "world w { import now: func() -> u64;",
                ["$root", "now"],
                "it imports `now`",
            ),
            // The contract does not even mention it.
            ("world w {", ["env", "now"], "`env`"),
        ] {
            let wit = format!("package a:b; {wit} {exports} }}");
            let refusal = refusal(&module_of(&wit, Some(import), &["describe", "apply"]));
            assert!(refusal.contains(named), "{refusal}");
        }
    }
}
