//! The pages of the documentation show what really happens.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use gnomon_tests::harness::Story;

/// Stories build projections of one name, and all builds share a directory.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs what a page shows.
fn tell(page: &str) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let sqlite = Path::new(env!("CARGO_BIN_EXE_sqlite3"));
    Story::of(page).run(&[("sqlite3", sqlite)]);
}

#[test]
fn the_first_projection_of_the_readme_goes_as_it_says() {
    tell("README.md");
}

#[test]
fn the_tutorial_goes_as_it_says() {
    tell("docs/tutorial/first-projection.md");
}

#[test]
fn a_projection_is_changed_in_production_as_the_guide_says() {
    tell("docs/how-to/deploying.md");
}

#[test]
fn events_that_cannot_be_applied_are_dealt_with_as_the_guide_says() {
    tell("docs/how-to/parked-streams.md");
}

#[test]
fn fixtures_find_what_the_guide_says() {
    tell("docs/how-to/testing.md");
}
