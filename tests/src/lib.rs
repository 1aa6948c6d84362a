//! What the end-to-end tests of Gnomon stand on: the harness that runs the real
//! binary on real databases, with the demo's order log.
//!
//! ```text
//! orders ──NDJSON──> gnomon append ──> events ──> gnomon run ──> rows ──┐
//!                                        └──> GROUP BY ──> expected ────┴──> equal?
//! ```
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on panics, and the panic is its message"
)]

#[cfg(test)]
mod architecture;
#[cfg(test)]
mod documentation;
pub mod harness;
