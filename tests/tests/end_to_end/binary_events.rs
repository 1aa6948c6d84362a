//! Events of somebody else's table whose data is bytes and no JSON.

use std::fs;

use gnomon_tests::harness::{Installation, System};
use serde_json::{Value, json};

use crate::languages::can_be_tested;

const SOURCE: &str = "
import { bytes, integer, projection, table, text } from 'gnomon';
export default projection({
  name: 'octets', version: 1,
  tables: { octets: table({ id: text(), length: integer(), octets: bytes() }, { key: 'id' }) },
  on: { Stored({ data, position }, { octets }) {
    if (!(data instanceof Uint8Array)) throw new Error(`data is ${typeof data}`);
    octets.put({ id: String(position), length: data.length, octets: data });
  } },
});";

/// What no text can be, nothing at all, and what happens to be JSON.
const PAYLOADS: [&[u8]; 3] = [b"\x00\xff{\"\xc3", b"", b"{\"a\": 1}"];

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn bytes_reach_a_guest_and_the_command_line_as_they_are() {
    if !can_be_tested("javascript", "operations-javascript", "bytes") {
        return;
    }
    let installation = Installation::new(System::Postgres, System::Postgres).with_variable(
        "GNOMON_TOOLCHAINS",
        std::env::var("GNOMON_TOOLCHAINS").unwrap_or_default(),
    );
    let folder = installation.path("octets");
    fs::create_dir(&folder).unwrap();
    let manifest = json!({"name": "octets", "type": "module", "main": "index.js"});
    fs::write(folder.join("package.json"), manifest.to_string()).unwrap();
    fs::write(folder.join("index.js"), SOURCE).unwrap();
    installation.succeed(&["build", "octets"]);
    installation.put_module(
        "octets.wasm",
        &fs::read(folder.join("octets.wasm")).unwrap(),
    );
    installation.events.execute(
        "DROP TABLE events; CREATE TABLE events (id UUID PRIMARY KEY DEFAULT gen_random_uuid(), stream_id VARCHAR(255), \
           event_type VARCHAR(255), event_data BYTEA, metadata JSONB, version BIGINT, \
           global_position BIGSERIAL UNIQUE, created_at TIMESTAMPTZ DEFAULT now(), \
           UNIQUE (stream_id, version))",
    );
    for (number, payload) in (1..).zip(PAYLOADS) {
        installation.events.execute(&format!(
            "INSERT INTO events (stream_id, event_type, event_data, version) \
             VALUES ('File-1', 'Stored', '\\x{}', {number})",
            hex(payload)
        ));
    }
    installation.succeed(&["run", "--until-caught-up"]);
    let rows = installation
        .read_models
        .rows("SELECT id, length, encode(octets, 'hex') FROM octets.octets ORDER BY id");
    let expected: Vec<Vec<Option<String>>> = (1..)
        .zip(PAYLOADS)
        .map(|(number, payload)| {
            let cells = [format!("{number}"), payload.len().to_string(), hex(payload)];
            cells.into_iter().map(Some).collect()
        })
        .collect();
    assert_eq!(rows, expected);
    let shown = installation.json_lines(&["events"]);
    let given: Vec<&Value> = shown.iter().map(|event| &event["data_base64"]).collect();
    assert_eq!(given, ["AP97IsM=", "", "eyJhIjogMX0="]);
    for event in &shown {
        assert!(event.get("data").is_none(), "{event}");
    }
}
