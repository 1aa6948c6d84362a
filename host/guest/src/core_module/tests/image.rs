//! What is laid into a guest's memory, as the canonical ABI has it.

use gnomon_model::Value;

/// Where the puppet puts the image that it is given.
pub(super) const IMAGE: u32 = 4096;
/// Where its description lies.
pub(super) const DESCRIPTION: u32 = 65_536;
/// Handles of the tables that it opens.
pub(super) const HANDLES: u32 = 2048;
/// Where replies go: so many bytes for each call.
pub(super) const REPLIES: u32 = 32_768;
pub(super) const REPLY: u32 = 256;

pub(super) const COLUMNS: [(&str, u8, bool); 13] = [
    ("id", 4, false),
    ("flag", 0, true),
    ("count", 1, false),
    ("ratio", 2, true),
    ("price", 3, true),
    ("label", 4, true),
    ("blob", 5, true),
    ("at", 6, true),
    ("day", 7, true),
    ("owner", 8, true),
    ("document", 9, true),
    ("kind", 4, true),
    ("number", 1, true),
];

/// Bytes at a place of the guest's memory that is known.
pub(super) struct Image {
    base: u32,
    pub(super) bytes: Vec<u8>,
}

impl Image {
    pub(super) const fn at(base: u32) -> Self {
        Self {
            base,
            bytes: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, bytes: &[u8]) -> u32 {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let at = self.base + u32::try_from(self.bytes.len()).unwrap();
        self.bytes.extend(bytes);
        at
    }

    pub(super) fn list<const SIZE: usize>(&mut self, elements: &[[u8; SIZE]]) -> [u8; 8] {
        let at = self.add(elements.as_flattened());
        words([at, u32::try_from(elements.len()).unwrap()])
    }

    pub(super) fn text(&mut self, text: &str) -> [u8; 8] {
        self.list(text.as_bytes().as_chunks::<1>().0)
    }

    pub(super) fn texts(&mut self, texts: &[&str]) -> [u8; 8] {
        let texts: Vec<_> = texts.iter().map(|text| self.text(text)).collect();
        self.list(&texts)
    }

    pub(super) fn cell(&mut self, value: &Value) -> [u8; 16] {
        let date = |day: i32| words([day.cast_unsigned(), 0]);
        let (case, payload) = match value {
            Value::Null => (0, [0; 8]),
            Value::Boolean(flag) => (1, u64::from(*flag).to_le_bytes()),
            Value::Integer(number) => (2, number.to_le_bytes()),
            Value::Float(number) => (3, number.to_le_bytes()),
            Value::Decimal(number) => (4, self.text(number.as_str())),
            Value::Text(text) => (5, self.text(text)),
            Value::Bytes(bytes) => (6, self.list(bytes.as_chunks::<1>().0)),
            Value::Timestamp(at) => (7, at.to_le_bytes()),
            Value::Date(day) => (8, date(*day)),
            Value::Uuid(uuid) => (9, self.text(&uuid.to_string())),
            Value::Json(text) => (10, self.text(text)),
        };
        pair([case, 0, 0, 0, 0, 0, 0, 0], payload)
    }

    pub(super) fn cells(&mut self, values: &[Value]) -> [u8; 8] {
        let cells: Vec<_> = values.iter().map(|value| self.cell(value)).collect();
        self.list(&cells)
    }

    pub(super) fn changes(&mut self, changes: &[(u8, usize, Value)]) -> [u8; 8] {
        let changes: Vec<[u8; 32]> = changes
            .iter()
            .map(|(case, column, value)| {
                let column = self.text(COLUMNS[*column].0);
                let value = self.cell(value);
                let head = pair([*case, 0, 0, 0, 0, 0, 0, 0], column);
                [head, value].as_flattened().try_into().unwrap()
            })
            .collect();
        self.list(&changes)
    }
}

pub(super) fn words<const N: usize>(words: [u32; N]) -> [u8; 8] {
    let words = words.map(u32::to_le_bytes);
    words.as_flattened().try_into().unwrap()
}

pub(super) fn pair(a: [u8; 8], b: [u8; 8]) -> [u8; 16] {
    [a, b].as_flattened().try_into().unwrap()
}

pub(super) fn unpacked(span: [u8; 8]) -> [u32; 2] {
    let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
    [word(&span[..4]), word(&span[4..])]
}

/// What the puppet says of itself, from where it says it.
pub(super) fn description() -> Vec<u8> {
    // The record comes first, and is filled in when the rest is known.
    const RECORD: usize = 40;
    let mut image = Image::at(DESCRIPTION);
    image.add(&[0; RECORD]);
    let columns: Vec<[u8; 12]> = COLUMNS
        .iter()
        .map(|(name, column_type, nullable)| {
            let [at, len] = unpacked(image.text(name)).map(u32::to_le_bytes);
            let rest = [*column_type, u8::from(*nullable), 0, 0];
            [at, len, rest].as_flattened().try_into().unwrap()
        })
        .collect();
    let indexes = [image.texts(&["count"]), image.texts(&["label", "number"])];
    let table = [
        image.text("puppets"),
        image.list(&columns),
        image.texts(&["id"]),
        image.list(&indexes),
    ];
    let table: [u8; 32] = table.as_flattened().try_into().unwrap();
    let name = unpacked(image.text("puppet"));
    let types = unpacked(image.texts(&[]));
    let categories = unpacked(image.texts(&["Puppet"]));
    let tables = unpacked(image.list(&[table]));
    let record = [
        name,
        [3, types[0]],
        [types[1], categories[0]],
        [categories[1], 1],
        tables,
    ];
    let record: Vec<u8> = record.into_iter().flat_map(words).collect();
    image.bytes[..RECORD].copy_from_slice(&record);
    image.bytes
}
