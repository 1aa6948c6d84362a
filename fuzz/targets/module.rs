//! A module from bytes to its description. Whatever they are, the host goes on.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use gnomon_guest::{GuestEngine, GuestLimits};
use gnomon_model::WriteLimits;
use libfuzzer_sys::fuzz_target;

/// Small, so that a description that is believed without a check shows.
const LIMITS: GuestLimits = GuestLimits {
    memory: 4 << 20,
    time: Duration::from_millis(500),
    writes: WriteLimits {
        writes: 1_000,
        bytes: 1 << 20,
        reply_bytes: 8 << 20,
    },
    reads: 1_000,
    log_bytes: 4 << 10,
};

static ENGINE: LazyLock<GuestEngine> =
    LazyLock::new(|| GuestEngine::new(None).expect("an engine starts"));

fuzz_target!(|bytes: &[u8]| {
    match ENGINE.load(bytes, LIMITS) {
        Ok(guest) => {
            // What was accepted can be stored and shown.
            let description = guest.description();
            assert!(!description.name.is_empty());
            assert!(!description.tables.is_empty());
        }
        Err(refusal) => {
            let reason = refusal.to_string();
            assert!(
                !reason
                    .chars()
                    .any(|c| c.is_control() && c != '\n' && c != '\t'),
                "a refusal would control the terminal: {reason:?}"
            );
        }
    }
});
