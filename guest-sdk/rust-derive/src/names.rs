//! The contract's rules for names, checked where the name is written.

use proc_macro2::Span;
use syn::{Error, Generics, Result};

const IDENTIFIER_BYTES_MAX: usize = 63;

/// Refuses what the host would refuse as the name of a table or a column.
pub(crate) fn check(what: &str, name: &str, span: Span) -> Result<()> {
    let mut bytes = name.bytes();
    let well_formed = bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if !well_formed {
        return Err(Error::new(
            span,
            format!("the {what} name `{name}` is not of the form [a-z][a-z0-9_]*"),
        ));
    }
    if name.len() > IDENTIFIER_BYTES_MAX {
        return Err(Error::new(
            span,
            format!(
                "the {what} name has {} bytes, at most {IDENTIFIER_BYTES_MAX} are allowed",
                name.len()
            ),
        ));
    }
    Ok(())
}

/// Refuses type parameters, which neither rows nor events can have.
pub(crate) fn check_no_generics(generics: &Generics) -> Result<()> {
    if generics.params.is_empty() {
        return Ok(());
    }
    Err(Error::new_spanned(
        generics,
        "type parameters and lifetimes are not supported here",
    ))
}
