//! The configuration file.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::given::{Given, kind};
use super::keys::{self, Draft, Key, PROJECTION};
use super::mistake::{Mistake, Place, suggestion};

/// A configuration file, parsed as far as it goes.
pub(super) struct Document<'a> {
    path: &'a Path,
    table: DeTable<'a>,
    /// Where each line begins, in bytes.
    lines: Vec<usize>,
    well_formed: bool,
}

impl<'a> Document<'a> {
    /// Parses a file. One that is not TOML counts as empty, so that its
    /// mistakes of syntax are not followed by others that they cause.
    pub(super) fn parse(path: &'a Path, bytes: &'a [u8], mistakes: &mut Vec<Mistake>) -> Self {
        let lines = std::iter::once(0)
            .chain(
                bytes
                    .iter()
                    .enumerate()
                    .filter(|(_, byte)| **byte == b'\n')
                    .map(|(at, _)| at + 1),
            )
            .collect();
        let mut document = Self {
            path,
            table: DeTable::new(),
            lines,
            well_formed: false,
        };
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
                let valid = std::str::from_utf8(valid).unwrap_or_default();
                mistakes.push(document.syntax(valid, valid.len(), "the file is not UTF-8"));
                return document;
            }
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            document.table = table.into_inner();
            document.well_formed = true;
        }
        for error in errors {
            let at = error.span().map_or(text.len(), |span| span.start);
            mistakes.push(document.syntax(text, at, error.message()));
        }
        document
    }

    /// Whether it is TOML.
    pub(super) const fn is_well_formed(&self) -> bool {
        self.well_formed
    }

    /// Sets what stands outside `[projection.NAME]`.
    pub(super) fn set_common(&self, draft: &mut Draft, mistakes: &mut Vec<Mistake>) {
        for (name, value) in self.entries(&self.table) {
            if name == PROJECTION {
                continue;
            }
            if !keys::sections().any(|section| section == name) {
                let near = suggestion(name, keys::sections());
                let message = format!("there is no such section{near}");
                mistakes.push(self.mistake(value.at, name, message));
                continue;
            }
            let Some(section) = self.table_at(value, name, mistakes) else {
                continue;
            };
            let known = || keys::common().filter(|key| key.section == name);
            self.set_keys(section, name, known, mistakes, |key, given| {
                draft.set(key, given)
            });
        }
    }

    /// Sets what stands in the sections `[projection.NAME]`.
    pub(super) fn set_projections(&self, draft: &mut Draft, mistakes: &mut Vec<Mistake>) {
        let Some(value) = self
            .entries(&self.table)
            .find(|(name, _)| *name == PROJECTION)
        else {
            return;
        };
        let Some(projections) = self.table_at(value.1, PROJECTION, mistakes) else {
            return;
        };
        for (projection, value) in self.entries(projections) {
            let path = format!("{PROJECTION}.{projection}");
            if !gnomon_model::is_projection_name(projection) {
                let message = "a projection's name has the form [a-z][a-z0-9_]*, at most 40 bytes; \
                               it is written here as the module declares it";
                mistakes.push(self.mistake(value.at, &path, message.to_owned()));
                continue;
            }
            let Some(section) = self.table_at(value, &path, mistakes) else {
                continue;
            };
            self.set_keys(
                section,
                &path,
                keys::of_projection,
                mistakes,
                |key, given| draft.set_of_projection(projection, key, given),
            );
        }
    }

    fn set_keys<K: Iterator<Item = &'static Key>>(
        &self,
        section: &DeTable<'_>,
        path: &str,
        known: impl Fn() -> K,
        mistakes: &mut Vec<Mistake>,
        mut set: impl FnMut(&Key, Given<'_>) -> Result<(), String>,
    ) {
        for (name, value) in self.entries(section) {
            let result = match known().find(|key| key.name == name) {
                Some(key) => set(key, Given::Toml(value.value)),
                None => Err(format!(
                    "there is no such key{}",
                    suggestion(name, known().map(|key| key.name))
                )),
            };
            if let Err(message) = result {
                mistakes.push(self.mistake(value.at, &format!("{path}.{name}"), message));
            }
        }
    }

    fn entries<'t>(
        &self,
        table: &'t DeTable<'_>,
    ) -> impl Iterator<Item = (&'t str, Entry<'t>)> + use<'t> {
        table
            .iter()
            .map(|(name, value): (&Spanned<_>, &Spanned<_>)| {
                let entry = Entry {
                    value: value.get_ref(),
                    at: name.span().start,
                };
                (name.get_ref().as_ref(), entry)
            })
    }

    fn table_at<'t>(
        &self,
        entry: Entry<'t>,
        path: &str,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<&'t DeTable<'t>> {
        match entry.value {
            DeValue::Table(table) => Some(table),
            other => {
                let message = format!("expected a section [{path}], found {}", kind(other));
                mistakes.push(self.mistake(entry.at, path, message));
                None
            }
        }
    }

    fn mistake(&self, at: usize, key: &str, message: String) -> Mistake {
        let place = Place::Key {
            file: self.path.to_owned(),
            line: self.line(at),
            key: key.to_owned(),
        };
        Mistake { place, message }
    }

    fn syntax(&self, text: &str, at: usize, message: &str) -> Mistake {
        let line = self.line(at);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        let place = Place::Syntax {
            file: self.path.to_owned(),
            line,
            column: text.get(start..at).unwrap_or_default().chars().count() + 1,
        };
        Mistake {
            place,
            message: message.to_owned(),
        }
    }

    /// The number of the line, from 1, that has this byte.
    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at).max(1)
    }
}

/// A value of a table, and where its key stands.
#[derive(Clone, Copy)]
struct Entry<'t> {
    value: &'t DeValue<'t>,
    at: usize,
}
