//! Modules made by hand: they say of themselves whatever a test wants, and
//! apply every event by doing nothing.

use wasm_encoder::{
    CodeSection, ComponentSection as _, ConstExpr, CustomSection, DataSection, ExportKind,
    ExportSection, Function, FunctionSection, GlobalSection, GlobalType, MemorySection, MemoryType,
    Module, TypeSection, ValType,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The contract.
const CONTRACT: &str = include_str!("../../../wit/projection.wit");
const PAGES: u64 = 64;
/// Where the description is in the guest's memory.
const DESCRIPTION: u32 = 1024;

/// What a module says of itself; nothing of it is checked here.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// The projection.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// The event types that it asks for; none for all.
    pub event_types: Vec<String>,
    /// Its tables.
    pub tables: Vec<DeclaredTable>,
}

/// A table as a module declares it.
#[derive(Clone, Debug)]
pub struct DeclaredTable {
    /// Its name.
    pub name: String,
    /// Its columns, all of them texts that are not nullable.
    pub columns: Vec<String>,
    /// The primary key.
    pub primary_key: Vec<String>,
    /// Secondary indexes.
    pub indexes: Vec<Vec<String>>,
}

impl Declaration {
    /// A sane projection with one sane table.
    #[must_use]
    pub fn sane(name: &str, table: &str) -> Self {
        let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Self {
            name: name.to_owned(),
            version: 1,
            event_types: Vec::new(),
            tables: vec![DeclaredTable {
                name: table.to_owned(),
                columns: strings(&["id", "note"]),
                primary_key: strings(&["id"]),
                indexes: Vec::new(),
            }],
        }
    }
}

/// A component of the contract that declares this.
#[must_use]
pub fn component(declaration: &Declaration) -> Vec<u8> {
    component_of_world(&core_module(declaration), CONTRACT, "projection")
}

/// A component of any world.
///
/// # Panics
/// When the module does not fit the world.
#[must_use]
pub fn component_of_world(core: &[u8], wit: &str, world: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("test.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    let mut core = core.to_vec();
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default()
        .module(&core)
        .unwrap()
        .encode()
        .unwrap()
}

/// The same component from another build: other bytes, the same behaviour.
#[must_use]
pub fn another_build(component: &[u8], number: u32) -> Vec<u8> {
    let mut bytes = component.to_vec();
    CustomSection {
        name: "build".into(),
        data: (&number.to_le_bytes()[..]).into(),
    }
    .append_to_component(&mut bytes);
    bytes
}

/// The same component with a list of types that is empty: it means nothing, but
/// is not what `wit-component` writes, so the host calls it as a component, and
/// not as its core module.
#[must_use]
pub fn not_only_core(component: &[u8]) -> Vec<u8> {
    const TYPES: u8 = 7;
    [component, &[TYPES, 1, 0]].concat()
}

/// The same projection under another name, which is as long: the bytes are
/// replaced wherever they stand.
///
/// # Panics
/// When the names differ in length, or the component does not hold the first.
#[must_use]
pub fn copy_of_projection(component: &[u8], name: &str, copy: &str) -> Vec<u8> {
    assert_eq!(name.len(), copy.len(), "`{name}` and `{copy}`");
    let places: Vec<usize> = component
        .windows(name.len())
        .enumerate()
        .filter_map(|(place, bytes)| (bytes == name.as_bytes()).then_some(place))
        .collect();
    assert!(!places.is_empty(), "the component does not hold `{name}`");
    let mut bytes = component.to_vec();
    for place in places {
        bytes[place..place + name.len()].copy_from_slice(copy.as_bytes());
    }
    bytes
}

/// The core module behind [`component`], which is not a component.
#[must_use]
pub fn core_module(declaration: &Declaration) -> Vec<u8> {
    let memory = Memory::describing(declaration);
    let heap = DESCRIPTION + u32::try_from(memory.bytes.len()).unwrap();

    let mut types = TypeSection::new();
    types.ty().function([], [ValType::I32]);
    types.ty().function([ValType::I32; 2], [ValType::I32]);
    types.ty().function([ValType::I32; 4], [ValType::I32]);
    let mut functions = FunctionSection::new();
    functions.function(0).function(1).function(2);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: PAGES,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut globals = GlobalSection::new();
    globals.global(
        GlobalType {
            val_type: ValType::I32,
            mutable: true,
            shared: false,
        },
        &ConstExpr::i32_const(i32::try_from(heap.next_multiple_of(16)).unwrap()),
    );
    let mut exports = ExportSection::new();
    exports
        .export("memory", ExportKind::Memory, 0)
        .export("describe", ExportKind::Func, 0)
        .export("apply", ExportKind::Func, 1)
        .export("cabi_realloc", ExportKind::Func, 2);
    let mut code = CodeSection::new();
    code.function(&describe())
        .function(&apply())
        .function(&realloc());
    let mut data = DataSection::new();
    data.active(
        0,
        &ConstExpr::i32_const(DESCRIPTION.cast_signed()),
        memory.bytes,
    );
    let mut module = Module::new();
    module
        .section(&types)
        .section(&functions)
        .section(&memories)
        .section(&globals)
        .section(&exports)
        .section(&code)
        .section(&data);
    module.finish()
}

fn describe() -> Function {
    let mut function = Function::new([]);
    function
        .instructions()
        .i32_const(DESCRIPTION.cast_signed())
        .end();
    function
}

/// `ok`: address 0 holds zeros.
fn apply() -> Function {
    let mut function = Function::new([]);
    function.instructions().i32_const(0).end();
    function
}

/// Hands out the rest of the memory, and never takes any back.
fn realloc() -> Function {
    let mut function = Function::new([(1, ValType::I32)]);
    function
        .instructions()
        .global_get(0)
        .local_tee(4)
        .local_get(3)
        .i32_add()
        .i32_const(15)
        .i32_add()
        .i32_const(-16)
        .i32_and()
        .global_set(0)
        .local_get(4)
        .end();
    function
}

/// Memory from [`DESCRIPTION`] on, laid out as the canonical ABI has it.
struct Memory {
    bytes: Vec<u8>,
}

impl Memory {
    fn describing(declaration: &Declaration) -> Self {
        const DESCRIPTION_BYTES: usize = 40;
        let mut memory = Self {
            bytes: vec![0; DESCRIPTION_BYTES],
        };
        let name = memory.string(&declaration.name);
        let tables: Vec<Vec<u8>> = declaration
            .tables
            .iter()
            .map(|table| memory.table(table))
            .collect();
        let tables = memory.list(&tables);
        memory.bytes[..8].copy_from_slice(&name);
        memory.bytes[8..12].copy_from_slice(&declaration.version.to_le_bytes());
        let event_types = memory.strings(&declaration.event_types);
        memory.bytes[12..20].copy_from_slice(&event_types);
        // Bytes 20 to 32 are the rest of the subscription: no categories, no
        // metadata.
        memory.bytes[32..40].copy_from_slice(&tables);
        memory
    }

    fn table(&mut self, table: &DeclaredTable) -> Vec<u8> {
        const TEXT: u8 = 4;
        let name = self.string(&table.name);
        let columns: Vec<Vec<u8>> = table
            .columns
            .iter()
            .map(|column| [&self.string(column)[..], &[TEXT, 0, 0, 0]].concat())
            .collect();
        let columns = self.list(&columns);
        let primary_key = self.strings(&table.primary_key);
        let indexes: Vec<Vec<u8>> = table
            .indexes
            .iter()
            .map(|index| self.strings(index).to_vec())
            .collect();
        let indexes = self.list(&indexes);
        [name, columns, primary_key, indexes].concat()
    }

    fn strings(&mut self, texts: &[String]) -> [u8; 8] {
        let texts: Vec<Vec<u8>> = texts
            .iter()
            .map(|text| self.string(text).to_vec())
            .collect();
        self.list(&texts)
    }

    fn string(&mut self, text: &str) -> [u8; 8] {
        self.place(text.as_bytes(), text.len())
    }

    fn list(&mut self, elements: &[Vec<u8>]) -> [u8; 8] {
        self.place(&elements.concat(), elements.len())
    }

    /// Puts bytes somewhere, and gives their address and the length beside it.
    fn place(&mut self, bytes: &[u8], length: usize) -> [u8; 8] {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let address = DESCRIPTION + u32::try_from(self.bytes.len()).unwrap();
        self.bytes.extend_from_slice(bytes);
        let length = u32::try_from(length).unwrap();
        let mut pair = [0; 8];
        pair[..4].copy_from_slice(&address.to_le_bytes());
        pair[4..].copy_from_slice(&length.to_le_bytes());
        pair
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_by_hand_imports_nothing_but_types() {
        let bytes = component(&Declaration::sane("notebook", "notes"));
        let decoded = wit_component::decode(&bytes).unwrap();
        let world = decoded.resolve().worlds.iter().next().unwrap().1;
        assert_eq!(world.exports.len(), 2);
        let interfaces = world
            .imports
            .values()
            .filter(|import| matches!(import, wit_parser::WorldItem::Interface { .. }));
        assert_eq!(interfaces.count(), 1, "{:?}", world.imports);
    }

    #[test]
    fn a_copy_has_the_other_name_everywhere() {
        let module = component(&Declaration::sane("notebook", "notes"));
        let copy = copy_of_projection(&module, "notebook", "handbook");
        assert_eq!(copy, component(&Declaration::sane("handbook", "notes")));
    }
}
