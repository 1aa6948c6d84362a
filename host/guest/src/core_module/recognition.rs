//! Which components are nothing but their core module and the contract.
//!
//! The core module is taken out and made a component again, by `wit-component`,
//! for the contract that this host has. If that gives the same bytes, then every
//! import of the module is that of the contract under its name, every export
//! likewise, all in UTF-8, and nothing runs between them. Anything else is left
//! to wasmtime.

use wasmparser::{BinaryReader, ComponentImportSectionReader, ExportSectionReader, ExternalKind};
use wit_component::ComponentEncoder;

use super::super::LoadError;
use super::{ALLOCATE_TEXTS, APPLY, DESCRIBE, MEMORY, POST_APPLY, POST_DESCRIBE, REALLOC};

/// The header of a module or component, before its sections.
const HEADER_BYTES: usize = 8;
const CUSTOM: u8 = 0;
/// Sections of a component.
const CORE_MODULE: u8 = 1;
const IMPORTS: u8 = 10;
/// Sections of a core module.
const EXPORTS: u8 = 7;
const START: u8 = 8;

/// The core module of a component, if there is nothing else to it.
pub(in super::super) fn core_of(component: &[u8]) -> Option<&[u8]> {
    let given = sections(component)?;
    let (_, core) = *given.iter().find(|(id, _)| *id == CORE_MODULE)?;
    if !is_plain(core)? {
        return None;
    }
    let mut module = core.to_vec();
    gnomon_contract::embed(&mut module).ok()?;
    let made = ComponentEncoder::default()
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
        .ok()?;
    let same = is_same(&given, &sections(&made)?);
    same.then_some(core)
}

/// Whether two components differ in nothing but what has no meaning.
fn is_same(a: &[(u8, &[u8])], b: &[(u8, &[u8])]) -> bool {
    let meant = |section: &&(u8, &[u8])| section.0 != CUSTOM;
    a.iter().filter(meant).eq(b.iter().filter(meant))
}

/// Whether a module runs nothing before it is called, and exports no function
/// but those that are called here: `wit-component` has others called beside them
/// or in their place, by their names.
fn is_plain(module: &[u8]) -> Option<bool> {
    const CALLED: [&str; 6] = [
        REALLOC,
        ALLOCATE_TEXTS,
        DESCRIBE,
        APPLY,
        POST_DESCRIBE,
        POST_APPLY,
    ];
    /// Keeps `cabi_realloc` in a crate, and means nothing to anybody else.
    const KEPT: &str = "cabi_realloc_wit_bindgen_";
    let is_known = |name: &str| CALLED.contains(&name) || name.starts_with(KEPT);
    let sections = sections(module)?;
    let mut has_memory = false;
    for (id, body) in sections {
        match id {
            START => return Some(false),
            EXPORTS => {
                let reader = ExportSectionReader::new(BinaryReader::new(body, 0)).ok()?;
                for export in reader {
                    let export = export.ok()?;
                    match export.kind {
                        ExternalKind::Func if !is_known(export.name) => {
                            return Some(false);
                        }
                        ExternalKind::Memory if export.name == MEMORY => has_memory = true,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Some(has_memory)
}

/// The names of what a component imports.
///
/// # Errors
/// [`LoadError::Malformed`].
pub(in super::super) fn component_imports(component: &[u8]) -> Result<Vec<String>, LoadError> {
    let malformed = || LoadError::Malformed("its sections cannot be read".to_owned());
    let mut names = Vec::new();
    for (id, body) in sections(component).ok_or_else(malformed)? {
        if id == IMPORTS {
            let imports = ComponentImportSectionReader::new(BinaryReader::new(body, 0));
            for import in imports.map_err(|_| malformed())? {
                names.push(import.map_err(|_| malformed())?.name.name.to_owned());
            }
        }
    }
    Ok(names)
}

/// The ids and bodies of the sections of a module or component.
pub(super) fn sections(binary: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut reader = BinaryReader::new(binary.get(HEADER_BYTES..)?, 0);
    let mut sections = Vec::new();
    while !reader.eof() {
        let id = reader.read_u8().ok()?;
        let bytes = reader.read_var_u32().ok()?;
        sections.push((id, reader.read_bytes(bytes as usize).ok()?));
    }
    Some(sections)
}
