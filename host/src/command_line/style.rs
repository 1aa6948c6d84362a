//! How output looks: colours on a terminal, tables for people.

use std::io::IsTerminal as _;
use std::time::Duration;

use comfy_table::{Cell, ContentArrangement, Table, presets};

/// Bold red, where colours are shown.
pub(super) fn error(text: &str) -> String {
    format!("\u{1b}[1;31m{text}\u{1b}[0m")
}

/// Green, where colours are shown.
pub(super) fn good(text: &str) -> String {
    format!("\u{1b}[32m{text}\u{1b}[0m")
}

/// Whether log lines may have colours.
pub(super) fn colours_on_stderr() -> bool {
    std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A table that fits the terminal.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header.iter().map(Cell::new));
    table
}

/// A time as people say it: two units at most.
pub(super) fn duration(seconds: f64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (365 * 86_400, "years"),
        (86_400, "days"),
        (3_600, "h"),
        (60, "min"),
    ];
    let time = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    let whole = time.as_secs();
    let Some(at) = UNITS.iter().position(|(length, _)| whole >= *length) else {
        return format!("{:.1} s", time.as_secs_f64());
    };
    let said = |(length, unit): (u64, &str), count: u64| match (length, count) {
        (86_400.., 1) => format!("1 {}", unit.trim_end_matches('s')),
        _ => format!("{} {unit}", grouped(count)),
    };
    let large = UNITS.get(at).copied().unwrap_or((1, "s"));
    let small = UNITS.get(at + 1).copied().unwrap_or((1, "s"));
    let first = said(large, whole / large.0);
    match whole % large.0 / small.0 {
        0 => first,
        rest => format!("{first} {}", said(small, rest)),
    }
}

/// A number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_said_as_people_say_them() {
        for (seconds, text) in [
            (-1.0, "0.0 s"),
            (0.04, "0.0 s"),
            (59.94, "59.9 s"),
            (60.0, "1 min"),
            (3_599.0, "59 min 59 s"),
            (3_600.0, "1 h"),
            (90_000.0, "1 day 1 h"),
            (200_000.0, "2 days 7 h"),
            (478_606_410.1, "15 years 64 days"),
            (31_536_000.0 + 86_400.0, "1 year 1 day"),
        ] {
            assert_eq!(super::duration(seconds), text);
        }
    }

    #[test]
    fn thousands_are_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (12_345_678, "12,345,678"),
        ] {
            assert_eq!(super::grouped(number), text);
        }
    }
}
