//! Operations: what users ask of projections, whatever way they ask.
//!
//! A surface, such as the command line, parses a request, calls an operation
//! and shows its result.

pub mod meeting;
pub mod status;
